"""The ``model.encoder`` section: what a config may hold there, and what configs held before."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from fedssl.base.config_file import ConfigError, as_yaml, dump, read
from fedssl.config import LearningConfig
from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.image.encoders import ENCODERS, ConvNet, build_encoder
from fedssl.model_state import save_state
from fedssl.models.model_file import load_encoder, read_model
from fedssl.networks.encoder import CustomEncoderConfig, EncoderConfig, build_from_section
from tests.tools.blueprints import blueprint, image_spec


class Sums(nn.Module):
    """An encoder of a person's own, with fields."""

    class Config(EncoderConfig):
        name: Literal["sums"] = "sums"
        width: PositiveInt = 5

    def __init__(self, config: Config, spec: ExampleSpec):
        super().__init__()
        self.features = config.width
        self.layer = nn.Linear(spec.shape[0], config.width)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layer(images.mean((2, 3)))
        return features


class Wide(ConvNet):
    """One of fedssl's, changed: it has its fields."""


class Bare(nn.Module):
    features = 3


SUMS = f"{__name__}.Sums"


def config(
    folder: Path, model: object = None, *overrides: str, data: str = "glyphs"
) -> LearningConfig:
    values: dict[str, Any] = {
        "data": {"name": data},
        "partition": {"name": "iid", "clients": 2},
        "objective": {"name": "simclr"},
        **({} if model is None else {"model": model}),
    }
    file = folder / "config.yaml"
    file.write_text(as_yaml(values), encoding="utf-8")
    return read(LearningConfig, file, overrides)


def encoder(*given: Any, **more: Any) -> dict[str, Any]:
    return config(*given, **more).model.encoder.model_dump()


CONVNET = {"name": "convnet", "width": 32, "channels_last": True}
RESNET = {"name": "resnet18", "stem": "auto", "channels_last": True}


@pytest.mark.parametrize(
    ("model", "overrides", "made"),
    [
        (None, [], CONVNET),
        ({"encoder": "resnet18"}, [], RESNET),
        ({"encoder": {"name": "convnet", "width": 64}}, [], CONVNET | {"width": 64}),
        (None, ["model.encoder.width=64"], CONVNET | {"width": 64}),
        ({"encoder": "convnet"}, ["model.encoder.width=64"], CONVNET | {"width": 64}),
        (None, ["model.encoder=resnet18", "model.encoder.stem=cifar"], RESNET | {"stem": "cifar"}),
        ({"encoder": {"name": "convnet", "width": 64}}, ["model.encoder=resnet18"], RESNET),
        ({"encoder": {"name": "convnet", "width": 64}}, ["model.encoder.name=resnet18"], RESNET),
        ({"encoder": SUMS}, ["model.encoder.width=7"], {"name": SUMS, "width": 7}),
        # As it was while these were the model's fields, whatever the encoder.
        (
            {"encoder": "resnet18", "stem": "cifar", "channels_last": False},
            [],
            {"name": "resnet18", "stem": "cifar", "channels_last": False},
        ),
        ({"encoder": "convnet", "stem": "imagenet"}, [], CONVNET),
        (
            {"encoder": "vit-tiny", "stem": "cifar", "channels_last": False},
            [],
            {"name": "vit-tiny", "stem": "cifar"},
        ),
        ({"encoder": "my.Net", "stem": "auto", "channels_last": True}, [], {"name": "my.Net"}),
        (
            {"encoder": "torchvision/resnet18", "stem": "cifar", "channels_last": False},
            [],
            {"name": "torchvision/resnet18", "channels_last": False},
        ),
        (None, ["model.channels_last=false"], CONVNET | {"channels_last": False}),
        ({"encoder": "resnet18"}, ["model.stem=cifar"], RESNET | {"stem": "cifar"}),
        ({"encoder": RESNET, "stem": "auto"}, [], RESNET),
    ],
)
def test_a_section_is_read_by_the_encoder_that_it_names(
    tmp_path: Path, model: object, overrides: list[str], made: dict[str, object]
) -> None:
    found = config(tmp_path, model, *overrides)
    assert found.model.encoder.model_dump() == made
    (tmp_path / "again.yaml").write_text(dump(found), encoding="utf-8")
    assert read(LearningConfig, tmp_path / "again.yaml") == found


def test_the_default_is_that_of_the_data_whatever_comes_first(tmp_path: Path) -> None:
    overrides = ["model.encoder.width=8", "data.name=waves"]
    for order in (overrides, overrides[::-1]):
        assert encoder(tmp_path, None, *order) == {"name": "conv1d", "width": 8}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"encoder": "resnet19"}, "model.encoder = resnet19: there is no such choice; did you"),
        ({"encoder": {"name": "resnet19"}}, "model.encoder.name = resnet19: there is no such"),
        ({"encoder": "keras/resnet"}, "model.encoder = keras/resnet: there is no such choice"),
        (
            {"encoder": "torchvision/resnet19"},
            "model.encoder.name = torchvision/resnet19: torchvision has no such classifier",
        ),
        ({"encoder": {"name": "convnet", "widht": 3}}, "model.encoder.widht: unknown field; did"),
        ({"encoder": {"name": "convnet", "width": 0}}, "model.encoder.width = 0: must be greater"),
        ({"encoder": {"name": "convnet", "stem": "auto"}}, "model.encoder.stem: unknown field"),
        ({"encoder": {}}, "model.encoder: needs a `name`; choose one of convnet"),
        ({"encoder": 3}, "model.encoder = 3: must be a section"),
        ({"encoder": "resnet18", "stem": "tiny"}, "model.stem = tiny: choose one of auto, cifar"),
        ({"channels_last": 1}, "model.channels_last = 1: choose one of true, false"),
        (
            {"encoder": RESNET, "stem": "cifar"},
            "model.stem = cifar: but encoder.stem = auto; give that alone",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, model: object, words: str) -> None:
    with pytest.raises(ConfigError) as told:
        config(tmp_path, model)
    assert words in str(told.value)
    assert str(told.value).count("\n") == 1


def test_a_file_with_the_old_fields_makes_the_same_weights(tmp_path: Path) -> None:
    old = {"encoder": "resnet18", "stem": "imagenet", "channels_last": False}
    new = {"encoder": {"name": "resnet18", "stem": "imagenet", "channels_last": False}}
    first, second = (blueprint(config(tmp_path, m)).build().state_dict() for m in (old, new))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["encoder.network.conv1.weight"].shape[-1] == 7


def test_the_fields_are_the_networks() -> None:
    assert build_encoder("convnet", 32, width=8).features == 32
    assert build_encoder("vit-tiny", 32, stem="imagenet").patch == 16
    for name in ("resnet18", "torchvision/resnet18"):
        layout = build_encoder(name, 64, channels_last=False).layout
        assert layout == torch.contiguous_format


def own(name: str, **fields: object) -> nn.Module:
    section = CustomEncoderConfig.model_validate({"name": f"{__name__}.{name}", **fields})
    return build_from_section(ENCODERS, section, image_spec())


def test_a_class_of_ones_own_gets_its_config_and_what_the_examples_are() -> None:
    assert own("Sums").features == 5
    assert own("Sums", width=7)(torch.zeros(2, 3, 4, 4)).shape == (2, 7)
    assert own("Wide", width=2).features == 8
    assert own("Bare").features == 3


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("Sums", {"width": 0}, r"^model\.encoder\.width = 0: "),
        ("Sums", {"wdith": 3}, r"^model\.encoder\.wdith: unknown field; did you mean width"),
        ("Bare", {"width": 3}, r"^model\.encoder\.width: .*Bare has no fields"),
        ("nothing", {}, "has no 'nothing'"),
    ],
)
def test_fields_that_a_class_of_ones_own_lacks_are_refused(
    name: str, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        own(name, **fields)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Install a package's encoder, and return which of them were imported."""
    imported: list[str] = []

    class Point(EntryPoint):
        def load(self) -> Any:
            imported.append(self.name)
            return super().load()

    points = {"sums": [Point("sums", SUMS.replace(".Sums", ":Sums"), ENCODERS.group)]}
    monkeypatch.setitem(ENCODERS.__dict__, "_added", points)
    return imported


def test_an_installed_package_adds_one(tmp_path: Path, installed: list[str]) -> None:
    assert encoder(tmp_path, {"encoder": "convnet"}) == CONVNET
    assert installed == []
    found = config(tmp_path, {"encoder": {"name": "sums", "width": 6}})
    assert blueprint(found).build().encoder.features == 6


def file_of(folder: Path, network: nn.Module, **fields: object) -> Path:
    spec = {"modality": "image", "shape": [3, 16, 16]}
    about = {
        "example": {**spec, "dtype": "uint8"},
        "prepared": {**spec, "dtype": "float32"},
        "constants": {},
        "fields": fields,
        "objective": "simclr",
    }
    state = {f"encoder.{name}": tensor for name, tensor in network.state_dict().items()}
    save_state(folder / "model.safetensors", state, {"fedssl": json.dumps(about)})
    return folder


@pytest.mark.parametrize(
    ("name", "made", "fields"),
    [
        ("convnet", {}, {"encoder": "convnet", "stem": "auto", "channels_last": True}),
        ("convnet", {"width": 4}, {"encoder": {"name": "convnet", "width": 4}}),
        ("resnet18", {"stem": "imagenet"}, {"encoder": "resnet18", "stem": "imagenet"}),
        (
            "resnet18",
            {"stem": "imagenet"},
            {"encoder": {"name": "resnet18", "stem": "imagenet", "channels_last": False}},
        ),
    ],
)
def test_model_files_of_both_forms_are_read(
    tmp_path: Path, name: str, made: dict[str, object], fields: dict[str, object]
) -> None:
    network = build_encoder(name, 16, **made).eval()
    again, images = load_encoder(file_of(tmp_path, network, **fields)), torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(again(images), network(images))


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("name", ["sums", SUMS, "no_module.Net"])
def test_a_file_runs_no_code_but_fedssls_and_its_libraries(
    tmp_path: Path, installed: list[str], name: str, short: bool
) -> None:
    section = name if short else {"name": name, "width": 5}
    network = Sums(Sums.Config(), image_spec(16))
    run = file_of(tmp_path, network, encoder=section)
    with pytest.raises(ValueError, match=f"holds a {name}, which fedssl cannot build"):
        load_encoder(run)
    assert installed == []
    assert read_model(run)[1].model.encoder.name == name
    assert load_encoder(run, network) is network


@pytest.mark.parametrize(
    "section", [None, 3, {}, {"name": None}, {"name": "convnet", "width": 1e3}]
)
def test_a_file_that_does_not_say_its_encoder_is_refused(tmp_path: Path, section: object) -> None:
    with pytest.raises(ValueError, match="is not a model that fedssl wrote"):
        load_encoder(file_of(tmp_path, build_encoder("convnet", 16), encoder=section))


def test_a_width_that_the_file_does_not_hold_takes_no_memory(tmp_path: Path) -> None:
    run = file_of(
        tmp_path, build_encoder("convnet", 16), encoder={"name": "convnet", "width": 4096}
    )
    with pytest.raises(ValueError, match="the models differ"):
        load_encoder(run)
