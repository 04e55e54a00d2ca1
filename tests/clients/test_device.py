import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clients.device import Device, read_learning, write_learning
from fedssl.base.config_file import ConfigError
from fedssl.config import LearningConfig
from fedssl.modalities.image.data.config import ImageData
from fedssl.modalities.image.data.folder import Folder
from simulations.settings.experiment import Experiment
from tests.tools.blueprints import blueprint

Small = Callable[..., Experiment]


def device(examples: Path) -> Device:
    return Device(examples, 2, torch.device("cpu"))


def write(folder: Path, *sizes: tuple[int, int]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, (width, height) in enumerate(sizes):
        Image.new("RGB", (width, height), (10 * number, 0, 0)).save(folder / f"{number}.png")
    return folder


def test_unlabelled_examples_of_any_size_are_resized_once(tmp_path: Path, small: Small) -> None:
    own = device(write(tmp_path / "own", (16, 16), (40, 20), (7, 300)))
    assert own.count() == 3
    runtime = own.runtime(write_learning(blueprint(small(), 16)))
    examples, labels = runtime.examples_of(2)
    assert examples.shape == (3, 3, 16, 16)
    assert labels.tolist() == [-1, -1, -1]
    assert examples[:, 0, 8, 8].tolist() == [0, 10, 20]
    assert own.runtime(write_learning(blueprint(small(), 16))) is runtime
    assert own.runtime(write_learning(blueprint(small(), 8))).examples.shape[-1] == 8


def test_an_npz_file_keeps_its_labels(tmp_path: Path, small: Small) -> None:
    examples = np.arange(2 * 16 * 16, dtype=np.uint8).reshape(2, 16, 16)
    np.savez(tmp_path / "own.npz", images=examples, labels=[1, 0])
    own = device(tmp_path / "own.npz")
    assert own.count() == 2
    shown, labels = own.runtime(write_learning(blueprint(small(), 16))).examples_of(2)
    assert shown.shape == (2, 3, 16, 16)
    assert torch.equal(shown[1, 0], torch.from_numpy(examples[1]))
    assert labels.tolist() == [1, 0]


def test_what_cannot_be_read_is_named(tmp_path: Path, small: Small) -> None:
    (tmp_path / "empty").mkdir()
    for path in ("empty", "gone", "gone.npz"):
        with pytest.raises(ValueError, match=f"--examples = .*{path}: "):
            device(tmp_path / path).count()
    folder = write(tmp_path / "own", (16, 16))
    (folder / "bad.jpg").write_bytes(b"no example")
    with pytest.raises(ValueError, match=r"bad\.jpg cannot be read"):
        device(folder).runtime(write_learning(blueprint(small(), 16)))


def test_folders_at_any_depth_are_read(tmp_path: Path, small: Small) -> None:
    for place, name in enumerate(("2024/01", "2024", "2025/a/b")):
        (tmp_path / "own" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (place, 0, 0)).save(tmp_path / "own" / name / "x.png")
    assert device(tmp_path / "own").count() == 3
    assert len(device(tmp_path / "own").read(Folder(train=tmp_path, size=8))) == 3
    (tmp_path / "own" / "x.heic").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"--examples: .*x\.heic cannot be read .* HEIC"):
        device(tmp_path / "own").count()


def test_what_transparency_lies_on_is_the_servers_choice(tmp_path: Path, small: Small) -> None:
    (tmp_path / "own").mkdir()
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "own" / "x.png")
    assert "background" not in write_learning(blueprint(small(), 8))
    black = small(f"data={{name: folder, train: {tmp_path}, background: black}}")
    for experiment, value in ((small(), 255), (black, 0)):
        examples, _ = (
            device(tmp_path / "own")
            .runtime(write_learning(blueprint(experiment, 8)))
            .examples_of(2)
        )
        assert bool((examples == value).all())


def test_a_device_learns_what_the_server_learns_and_not_where_its_files_are(
    small: Small, tmp_path: Path
) -> None:
    experiment = small("client.lr=0.125")
    text = write_learning(blueprint(experiment, 16))
    for secret in (str(tmp_path), "npz", "ldawa", "participation"):
        assert secret not in text
    read = read_learning(text)
    same = set(LearningConfig.model_fields) - {"data", "partition"}
    for name in same:
        assert getattr(read, name) == getattr(experiment, name)
    assert isinstance(read.data, ImageData)
    assert isinstance(experiment.data, ImageData)
    assert (read.data.size, read.data.mean, read.data.std) == (
        16,
        experiment.data.mean,
        experiment.data.std,
    )


def test_the_file_that_a_run_begins_with_stays_the_servers(small: Small, tmp_path: Path) -> None:
    text = write_learning(blueprint(small(f"model.init={tmp_path / 'begun.safetensors'}"), 16))
    assert "begun" not in text
    assert read_learning(text).model.init is None


def test_how_the_server_would_share_out_its_examples_is_not_sent(small: Small) -> None:
    text = write_learning(blueprint(small("partition={name: natural, field: domain}"), 16))
    assert text == write_learning(blueprint(small("partition.clients=7"), 16))
    assert read_learning(text).partition.name == "iid"


@pytest.mark.parametrize(
    ("section", "field"),
    [("objective", "name"), ("model", "encoder"), ("data", "name"), ("data", "modality")],
)
def test_the_server_cannot_name_a_class_that_was_not_allowed(
    small: Small, section: str, field: str
) -> None:
    values = json.loads(write_learning(blueprint(small(), 16)))
    for value in ("subprocess.Popen", {"name": "subprocess.Popen"}):
        values[section][field] = value
        if isinstance(value, str) or field == "encoder":
            with pytest.raises(ConfigError, match=r"allow it by --allow subprocess$"):
                read_learning(json.dumps(values), ["other"])


@pytest.mark.parametrize(
    "sections",
    [
        {"objective": "hostile_code.Thing"},
        {"objective": {"name": "simclr", "terms": ["hostile_code.Thing"]}},
        {"objective": {"name": "simclr", "terms": [{"name": "hostile_code.Thing"}]}},
        {"objective": {"name": "simclr", "terms": "hostile_code.Thing"}},
        {"partition": "hostile_code.Thing"},
        {"partition": {"name": "hostile_code.Thing", "clients": 1}},
        {"views": "hostile_code.Thing"},
        {"views": ["flip", "hostile_code.Thing"]},
        {"views": [[["hostile_code.Thing"]]]},
        {"views": [{"name": "hostile_code.Thing"}]},
        {"views": {"name": "hostile_code.Thing"}},
        {"data": "hostile_code.Thing"},
        {"data": {"name": "hostile_code.Thing"}},
        {"data": {"name": "folder", "modality": "hostile_code.Thing"}},
        {"model": {"encoder": "hostile_code.Thing"}},
        {"evaluation": {"measures": ["hostile_code.Thing"]}},
        {"unknown": [[{"deep": {"name": "hostile_code.Thing"}}]]},
    ],
)
def test_no_field_gets_code_imported_that_was_not_allowed(
    small: Small, sections: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hostile_code.py").write_text("raise SystemExit('it was run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    values = {**json.loads(write_learning(blueprint(small(), 16))), **sections}
    with pytest.raises(ConfigError, match=r"Thing: .* allow it by --allow hostile_code$"):
        read_learning(json.dumps(values), ["other"])
    assert "hostile_code" not in sys.modules


@pytest.mark.parametrize("deep", ["[" * 900 + "]" * 900, "[" * 100_000 + "]" * 100_000])
def test_what_is_nested_too_deep_is_refused(small: Small, deep: str) -> None:
    text = write_learning(blueprint(small(), 16))
    with pytest.raises(ConfigError):
        read_learning(text[:-1] + f', "views": {deep}}}')


def test_a_librarys_encoder_may_have_a_dot_in_its_name_and_nothing_else(small: Small) -> None:
    values = json.loads(write_learning(blueprint(small(), 16)))
    values["objective"]["name"] = "timm/subprocess.Popen"
    with pytest.raises(ConfigError, match="allow it by --allow"):
        read_learning(json.dumps(values))


def test_a_class_of_the_devices_owner_can_be_allowed(small: Small) -> None:
    values = json.loads(write_learning(blueprint(small(), 16)))
    values["model"]["encoder"] = "torchvision.models.resnet18"
    made = read_learning(json.dumps(values), ["torchvision.models"])
    assert made.model.encoder.name == "torchvision.models.resnet18"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"seed": 1}', '"a.b"'])
def test_what_is_no_config_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_learning(text)


def test_what_a_modality_knows_nothing_of_needs_to_be_allowed(small: Small) -> None:
    values = json.loads(write_learning(blueprint(small(), 16)))
    values["data"] = {"name": "series-csv", "train": ".", "modality": "series", "length": 8}
    values["model"] = {"encoder": "torchvision/os.system"}
    with pytest.raises(ConfigError, match=r"allow it by --allow torchvision/os"):
        read_learning(json.dumps(values))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"length": None}, r"data\.length = null: the server must say"),
        ({"length": 1 << 24}, "give a smaller data.length"),
        (
            {"length": 8, "mean": [0.0, 0.0]},
            r"data\.mean has 2 numbers, and the series 900 channel",
        ),
    ],
)
def test_what_a_server_may_not_ask_of_series_is_refused(
    tmp_path: Path, small: Small, data: dict[str, object], message: str
) -> None:
    np.savez(tmp_path / "own.npz", series=np.zeros((20, 900, 8), np.float32))
    values = json.loads(write_learning(blueprint(small(), 16)))
    values |= {"model": {}, "views": "simclr"}
    values["data"] = {"name": "series-csv", "train": ".", **data}
    own = device(tmp_path / "own.npz")
    assert own.describe() == "20 series"
    with pytest.raises(ValueError, match=message):
        own.runtime(json.dumps(values))


def test_images_are_no_series(tmp_path: Path, small: Small) -> None:
    values = json.loads(write_learning(blueprint(small(), 16)))
    values |= {"model": {}, "views": "simclr"}
    values["data"] = {"name": "series-csv", "train": ".", "length": 8}
    own = device(write(tmp_path / "own", (9, 9)))
    with pytest.raises(ValueError, match="holds images, and the server trains on series"):
        own.runtime(json.dumps(values))
    values = json.loads(write_learning(blueprint(small(), 16)))
    values["data"]["size"] = None
    with pytest.raises(ValueError, match=r"data\.size = null|needs data\.size"):
        own.runtime(json.dumps(values))
