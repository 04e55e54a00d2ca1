import json
from pathlib import Path

import pytest
import torch

from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.image.encoders import ConvNet, build_encoder
from fedssl.modalities.image.model import ImageModel
from fedssl.model_state import save_state
from fedssl.models.model_file import load_encoder, read_model
from fedssl.networks.norms import use_group_norm

ABOUT = {
    "encoder": "convnet",
    "stem": "auto",
    "projector": [8],
    "objective": "simclr",
    "image_size": 16,
    "mean": [0.5],
    "std": [0.25],
}


def write(folder: Path, network: torch.nn.Module, **about: object) -> Path:
    state = {f"encoder.{name}": tensor for name, tensor in network.state_dict().items()}
    save_state(folder / "model.safetensors", state, {"fedssl": json.dumps(ABOUT | about)})
    return folder


@pytest.mark.parametrize("name", ["convnet", "torchvision/shufflenet_v2_x0_5"])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_an_encoder_is_rebuilt_with_its_norm(tmp_path: Path, name: str, norm: str) -> None:
    encoder = build_encoder(name, 32)
    encoder = (use_group_norm(encoder) if norm == "group" else encoder).eval()
    again = load_encoder(write(tmp_path, encoder, encoder=name, norm=norm, image_size=32))
    examples = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(examples), encoder(examples))


def test_a_file_from_before_there_was_a_choice_has_batchnorm(tmp_path: Path) -> None:
    _, about = read_model(write(tmp_path, build_encoder("convnet", 16)))
    assert about.model == ImageModel(encoder=ConvNet.Config(), norm="batch", projector=(8,))
    assert about.example == ExampleSpec("image", (3, 16, 16), "uint8")
    assert about.prepared == ExampleSpec("image", (3, 16, 16), "float32")
    assert about.constants == {"mean": (0.5,), "std": (0.25,)}
    assert about.objective == "simclr"
    load_encoder(tmp_path)


@pytest.mark.parametrize("about", [{"norm": "layer"}, {"image_size": "large"}, {"stem": None}])
def test_what_no_fedssl_wrote_is_refused(tmp_path: Path, about: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is not a model that fedssl wrote"):
        load_encoder(write(tmp_path, build_encoder("convnet", 16), **about))


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"shape": []}, "is not a model that fedssl wrote"),
        ({"shape": [3]}, r"its examples have the shape \[3\], and images have 3 dimension"),
        ({"shape": [1 << 20, 1 << 20, 3]}, "too large"),
        ({"modality": "sound"}, "there is no such modality"),
        ({"modality": "os.path"}, r"of os\.path, which no installed package adds"),
    ],
)
def test_examples_that_there_cannot_be_are_refused(
    tmp_path: Path, example: dict[str, object], message: str
) -> None:
    network, spec = build_encoder("convnet", 16), {"modality": "image", "shape": [3, 16, 16]}
    about = {
        "example": {**spec, "dtype": "uint8", **example},
        "prepared": {**spec, "dtype": "float32"},
        "constants": {},
        "fields": {"encoder": "convnet"},
        "objective": "simclr",
    }
    state = {f"encoder.{name}": tensor for name, tensor in network.state_dict().items()}
    save_state(tmp_path / "model.safetensors", state, {"fedssl": json.dumps(about)})
    with pytest.raises(ValueError, match=message):
        load_encoder(tmp_path)


def test_a_file_never_decides_which_code_is_run(tmp_path: Path) -> None:
    run = write(tmp_path, build_encoder("convnet", 16), encoder="os.getcwd")
    with pytest.raises(ValueError, match=r"holds a os\.getcwd, which fedssl cannot build"):
        load_encoder(run)
    assert load_encoder(run, build_encoder("convnet", 16)) is not None


def test_a_far_larger_network_than_the_file_holds_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write(
        tmp_path, build_encoder("convnet", 16), encoder="torchvision/vit_h_14", image_size=518
    )
    devices = []
    initialise = torch.nn.Linear.reset_parameters

    def note(layer: torch.nn.Linear) -> None:
        devices.append(layer.weight.device.type)
        initialise(layer)

    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", note)
    with pytest.raises(ValueError, match="the models differ: only one of them has"):
        load_encoder(run)
    # Of 2.5 GB nothing was taken.
    assert set(devices) == {"meta"}
