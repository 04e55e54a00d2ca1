"""What other tools make of an exported encoder: the lines that load it are run as they are."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedssl import load_encoder
from fedssl.config import LearningConfig
from fedssl.data.example_spec import ExampleSpec
from fedssl.model_state import save_state
from fedssl.models.export import export, export_program
from fedssl.models.model_file import ModelDescription, save_model
from tests.tools.blueprints import blueprint, image_spec

Save = Callable[..., Path]


def missing(*names: str) -> pytest.MarkDecorator:
    gone = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(gone), reason=f"needs {' and '.join(gone)}")


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write the model file of an encoder, its statistics not those that it began with."""

    def write(encoder: str, size: int = 32, **model: object) -> Path:
        config = LearningConfig.model_validate(
            {
                "data": {"name": "glyphs"},
                "partition": {"name": "iid", "clients": 1},
                "model": {"encoder": encoder, "projector": [8], **model},
                "objective": {"name": "simclr"},
            }
        )
        objective = blueprint(config, size).build()
        with torch.no_grad():
            for name, buffer in objective.named_buffers():
                if buffer.is_floating_point():
                    buffer.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
        save_model(tmp_path / "model.safetensors", objective, blueprint(config, size))
        return tmp_path

    return write


def about_of(encoder: str, side: int) -> ModelDescription:
    prepared = ExampleSpec("image", (3, side, side), "float32")
    constants: dict[str, tuple[float, ...]] = {"mean": (0.5,), "std": (0.5,)}
    return ModelDescription(image_spec(side), prepared, constants, {"encoder": encoder}, "simclr")


def loaded(lines: str) -> Any:
    names: dict[str, Any] = {}
    exec(lines, names)
    return names


def examples(size: int) -> Tensor:
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("encoder", "size", "model"),
    [
        ("resnet18", 32, {}),
        ("resnet18", 70, {}),
        ("resnet18", 32, {"stem": "imagenet"}),
        ("resnet18", 32, {"norm": "group"}),
        ("torchvision/shufflenet_v2_x0_5", 64, {}),
    ],
)
@torch.no_grad()
def test_torchvisions_network_loads_it_and_computes_the_same(
    save: Save, encoder: str, size: int, model: dict[str, object]
) -> None:
    run = save(encoder, size, **model)
    file, lines = export(run, "torchvision")
    assert file == run / "encoder-torchvision.safetensors"
    theirs: nn.Module = loaded(lines)["model"].eval()
    theirs.fc = nn.Identity()
    torch.testing.assert_close(theirs(examples(size)), load_encoder(run)(examples(size)))


@pytest.mark.parametrize("encoder", ["convnet", "vit-tiny", "timm/resnet18"])
def test_what_torchvision_does_not_have_is_refused(save: Save, encoder: str) -> None:
    if encoder.startswith("timm"):
        pytest.importorskip("timm", reason="needs timm")
    with pytest.raises(ValueError, match=f"the encoder is {encoder}, which torchvision does not"):
        export(save(encoder), "torchvision")


def test_a_transformer_of_torchvisions_is_made_for_the_examples_size(tmp_path: Path) -> None:
    about = about_of("torchvision/vit_b_32", 64)
    save_state(tmp_path / "model.safetensors", {}, {"fedssl": about.to_json()})
    assert "get_model('vit_b_32', image_size=64)" in export(tmp_path, "torchvision")[1]


def test_groupnorm_where_a_library_has_none_is_refused(save: Save) -> None:
    run = save("torchvision/shufflenet_v2_x0_5", norm="group")
    with pytest.raises(ValueError, match="has GroupNorm, as torchvision's shufflenet_v2_x0_5 can"):
        export(run, "torchvision")
    with pytest.raises(ValueError, match="has GroupNorm, as timm's resnet18 has not"):
        export(save("resnet18", norm="group"), "timm")


@missing("timm")
@pytest.mark.parametrize(
    ("encoder", "size"),
    [("resnet18", 32), ("resnet18", 70), ("timm/resnet10t", 32), ("timm/test_vit", 32)],
)
@torch.no_grad()
def test_timms_network_loads_it_and_computes_the_same(save: Save, encoder: str, size: int) -> None:
    run = save(encoder, size)
    theirs = loaded(export(run, "timm")[1])["model"].eval()
    torch.testing.assert_close(theirs(examples(size)), load_encoder(run)(examples(size)))


@pytest.mark.parametrize(("name", "fields"), [("vit", ", img_size=48"), ("cnn", "")])
def test_a_transformer_of_timms_is_made_for_the_examples_size(
    timm: list[dict[str, object]], tmp_path: Path, name: str, fields: str
) -> None:
    about = about_of(f"timm/{name}", 48)
    save_state(tmp_path / "model.safetensors", {}, {"fedssl": about.to_json()})
    assert f"create_model('{name}', num_classes=0{fields})" in export(tmp_path, "timm")[1]


def test_for_timm_a_resnet_has_the_names_that_torchvision_gives_it(save: Save) -> None:
    from safetensors.torch import load_file

    run = save("resnet18")
    file, lines = export(run, "timm")
    assert "timm.create_model('resnet18', num_classes=0)" in lines
    assert "model.conv1 = " in lines
    expected = load_file(export(run, "torchvision")[0])
    found = load_file(file)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("encoder", ["convnet", "torchvision/shufflenet_v2_x0_5"])
def test_what_timm_does_not_have_is_refused(save: Save, encoder: str) -> None:
    with pytest.raises(ValueError, match=f"the encoder is {encoder}, which is not timm's"):
        export(save(encoder), "timm")


def test_safetensors_hold_the_encoder_alone(save: Save, tmp_path: Path) -> None:
    run = save("convnet")
    file, lines = export(run / "model.safetensors", "safetensors", tmp_path / "mine.safetensors")
    assert file == tmp_path / "mine.safetensors"
    state = loaded(lines)["state"]
    encoder = load_encoder(run)
    assert state.keys() == encoder.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize("encoder", ["convnet", "vit-tiny"])
@torch.no_grad()
def test_a_captured_encoder_computes_the_same_for_any_number_of_examples(
    save: Save, encoder: str
) -> None:
    ours = load_encoder(save(encoder))
    program = export_program(ours, torch.zeros(2, 3, 32, 32)).module()
    for count in (1, 3):
        shown = examples(32)[:count]
        torch.testing.assert_close(program(shown), ours(shown), atol=1e-5, rtol=1e-5)


@missing("onnx", "onnxscript", "onnxruntime")
@pytest.mark.parametrize(
    "encoder",
    [
        "convnet",
        "resnet18",
        "vit-tiny",
        pytest.param("timm/resnet10t", marks=missing("timm")),
        pytest.param("timm/test_vit", marks=missing("timm")),
    ],
)
@torch.no_grad()
def test_onnxruntime_computes_the_same(save: Save, encoder: str) -> None:
    run = save(encoder)
    names: dict[str, Any] = {"images": examples(32).numpy()}
    exec(export(run, "onnx")[1], names)
    expected = load_encoder(run)(examples(32))
    torch.testing.assert_close(torch.from_numpy(names["features"]), expected, atol=1e-4, rtol=1e-4)


def test_a_network_that_pytorch_cannot_write_is_said_in_a_line(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*program: object, **fields: object) -> None:
        raise RuntimeError("step 2/3\nNext steps: …") from ValueError("Cannot view a tensor\nat …")

    run = save("convnet")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(ValueError, match=r"PyTorch cannot write convnet: Cannot view a tensor; ch"):
        export(run, "onnx")
    assert not list(run.glob("*onnx*"))


def test_missing_packages_are_said_with_the_way_to_install_them(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = save("convnet")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"onnxscript: pip install 'fedssl\[onnx\]'"):
        export(run, "onnx")
    assert not (run / "encoder-onnx.onnx").exists()


def test_an_unknown_format_and_what_is_no_run_are_refused(save: Save, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--format onx: there is no such format; did you mean onn"):
        export(save("convnet"), "onx")
    with pytest.raises(ValueError, match="there is no such file"):
        export(tmp_path / "nowhere", "onnx")
