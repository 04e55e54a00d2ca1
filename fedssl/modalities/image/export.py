"""A trained encoder of images for torchvision or timm."""

from pathlib import Path

from fedssl.modalities.export_format import DescribedModel, ExportFormat
from fedssl.modalities.image.encoders import ResNet
from fedssl.modalities.image.library_encoders import timm_network
from fedssl.modalities.image.stem import is_small
from fedssl.model_state import State, save_state

_RESNETS = ("resnet18", "resnet34", "resnet50")
_CIFAR_STEM = "model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)\n" + (
    "model.maxpool = torch.nn.Identity()"
)


def _torchvision(state: State, about: DescribedModel, file: Path) -> str:
    name = about.model.encoder.name.removeprefix("torchvision/")
    is_resnet = name in _RESNETS
    if about.model.encoder.name not in (f"torchvision/{name}", *_RESNETS):
        raise ValueError(
            f"--format torchvision: the encoder is {about.model.encoder.name}, which torchvision "
            "does not have; choose onnx or safetensors"
        )
    fields = [repr(name)]
    if about.model.norm == "group":
        if not is_resnet:
            raise ValueError(
                f"--format torchvision: the encoder has GroupNorm, as torchvision's {name} cannot; "
                "choose onnx or safetensors"
            )
        fields.append("norm_layer=lambda c: torch.nn.GroupNorm(c // 16, c)")
    if name.startswith("vit_"):
        fields.append(f"image_size={_side(about)}")
    return _write_network(
        state,
        about,
        file,
        f"import torch\nimport torchvision\nfrom safetensors.torch import load_file\n\n"
        f"model = torchvision.models.get_model({', '.join(fields)})",
        "strict=False)  # all but the classifier",
    )


def _timm(state: State, about: DescribedModel, file: Path) -> str:
    name = about.model.encoder.name.removeprefix("timm/")
    # timm's ResNets have the names of torchvision's.
    if about.model.encoder.name not in (f"timm/{name}", *_RESNETS):
        raise ValueError(
            f"--format timm: the encoder is {about.model.encoder.name}, which is not timm's; "
            "choose onnx or safetensors"
        )
    if about.model.norm == "group":
        raise ValueError(
            f"--format timm: the encoder has GroupNorm, as timm's {name} has not; "
            "choose onnx or safetensors"
        )
    # timm is asked which of its models are made for images of one size.
    size = {} if about.model.encoder.name in _RESNETS else timm_network(name, _side(about))[1]
    fields = [repr(name), "num_classes=0", *(f"{field}={value}" for field, value in size.items())]
    return _write_network(
        state,
        about,
        file,
        f"import timm\nimport torch\nfrom safetensors.torch import load_file\n\n"
        f"model = timm.create_model({', '.join(fields)})",
        "strict=True)",
    )


def _write_network(state: State, about: DescribedModel, file: Path, make: str, strict: str) -> str:
    plain = {
        name.removeprefix("network."): tensor for name, tensor in about.encoder_in(state).items()
    }
    save_state(file, plain, {"fedssl": about.to_json()})
    section = about.model.encoder
    small = isinstance(section, ResNet.Config) and is_small(section.stem, about.example)
    lines = [make, *([_CIFAR_STEM] if small else [])]
    return "\n".join([*lines, f"model.load_state_dict(load_file({str(file)!r}), {strict}"])


def _side(about: DescribedModel) -> int:
    return about.example.shape[-1]


FORMATS: dict[str, ExportFormat] = {"torchvision": _torchvision, "timm": _timm}
"""What writes each form and returns the lines that load it."""
