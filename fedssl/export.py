"""A trained encoder for other tools: torchvision, timm, ONNX, or a plain file of tensors."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from fedssl.encoders import stem_for
from fedssl.fields import nearest
from fedssl.files import WriteError, replacing
from fedssl.libraries import timm_network
from fedssl.model_file import About, encoder_of, read_model
from fedssl.state import State, save_state

_RESNETS = ("resnet18", "resnet34", "resnet50")
_CIFAR_STEM = "model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)\n" + (
    "model.maxpool = torch.nn.Identity()"
)


def export(run: str | Path, form: str, out: Path | None = None) -> tuple[Path, str]:
    """Write a run's encoder in another tool's form.

    Parameters
    ----------
    run : str | Path
        A run folder, or its ``model.safetensors``.
    form : {"torchvision", "timm", "onnx", "safetensors"}
        torchvision, timm: a state dict as safetensors, with that library's names, of all but the
        classifier. onnx: the network itself, for any number of images. safetensors: the encoder's
        tensors, with fedssl's names.
    out : Path | None (default: None)
        The file; by default beside the model, named after the form.

    Returns
    -------
    tuple[Path, str]
        The file, and the lines of Python that load it.

    Raises
    ------
    ValueError
        There is no such form, the encoder is not a network that the tool has, or a package that
        writing it needs is not installed.
    """
    check_form(form)
    state, about = read_model(run)
    folder = Path(run) if Path(run).is_dir() else Path(run).parent
    file = out or default_file(folder, form)
    return file, write(state, about, form, file)


def check_form(form: str) -> None:
    """Raise a ValueError where there is no such form."""
    if form not in FORMATS:
        raise ValueError(
            f"--format {form}: there is no such format; {nearest(form, list(FORMATS))}"
        )


def default_file(folder: Path, form: str) -> Path:
    """Return the file in a run's folder that is named after the form."""
    suffix = ".onnx" if form == "onnx" else ".safetensors"
    return folder / f"encoder-{form}{suffix}"


def write(state: State, about: About, form: str, file: Path) -> str:
    """Write a model's encoder in another tool's form; return the lines of Python that load it.

    Parameters
    ----------
    state : State
        The model's tensors, named as in the objective.
    about : About
        What they are.
    form, file
        See `export`, also for the errors.
    """
    check_form(form)
    return FORMATS[form](state, about, file)


def _encoder(state: State) -> State:
    return {n.removeprefix("encoder."): t for n, t in state.items() if n.startswith("encoder.")}


def _safetensors(state: State, about: About, file: Path) -> str:
    save_state(file, _encoder(state), {"fedssl": about.to_json()})
    return f"from safetensors.torch import load_file\n\nstate = load_file({str(file)!r})"


def _torchvision(state: State, about: About, file: Path) -> str:
    name = about.encoder.removeprefix("torchvision/")
    is_resnet = name in _RESNETS
    if about.encoder not in (f"torchvision/{name}", *_RESNETS):
        raise ValueError(
            f"--format torchvision: the encoder is {about.encoder}, which torchvision does not "
            "have; choose onnx or safetensors"
        )
    fields = [repr(name)]
    if about.norm == "group":
        if not is_resnet:
            raise ValueError(
                f"--format torchvision: the encoder has GroupNorm, as torchvision's {name} cannot; "
                "choose onnx or safetensors"
            )
        fields.append("norm_layer=lambda c: torch.nn.GroupNorm(c // 16, c)")
    if name.startswith("vit_"):
        fields.append(f"image_size={about.image_size}")
    return _write_network(
        state,
        about,
        file,
        f"import torch\nimport torchvision\nfrom safetensors.torch import load_file\n\n"
        f"model = torchvision.models.get_model({', '.join(fields)})",
        "strict=False)  # all but the classifier",
    )


def _timm(state: State, about: About, file: Path) -> str:
    name = about.encoder.removeprefix("timm/")
    # timm's ResNets have the names of torchvision's.
    if about.encoder not in (f"timm/{name}", *_RESNETS):
        raise ValueError(
            f"--format timm: the encoder is {about.encoder}, which is not timm's; "
            "choose onnx or safetensors"
        )
    if about.norm == "group":
        raise ValueError(
            f"--format timm: the encoder has GroupNorm, as timm's {name} has not; "
            "choose onnx or safetensors"
        )
    # timm is asked which of its models are made for images of one size.
    size = {} if about.encoder in _RESNETS else timm_network(name, about.image_size)[1]
    fields = [repr(name), "num_classes=0", *(f"{field}={value}" for field, value in size.items())]
    return _write_network(
        state,
        about,
        file,
        f"import timm\nimport torch\nfrom safetensors.torch import load_file\n\n"
        f"model = timm.create_model({', '.join(fields)})",
        "strict=True)",
    )


def _write_network(state: State, about: About, file: Path, make: str, strict: str) -> str:
    plain = {name.removeprefix("network."): tensor for name, tensor in _encoder(state).items()}
    save_state(file, plain, {"fedssl": about.to_json()})
    small = about.encoder in _RESNETS and stem_for(about.stem, about.image_size) == "cifar"
    lines = [make, *([_CIFAR_STEM] if small else [])]
    return "\n".join([*lines, f"model.load_state_dict(load_file({str(file)!r}), {strict}"])


def _onnx(state: State, about: About, file: Path) -> str:
    if missing := [n for n in ("onnx", "onnxscript") if importlib.util.find_spec(n) is None]:
        raise ValueError(f"--format onnx needs {' and '.join(missing)}: pip install 'fedssl[onnx]'")
    encoder = encoder_of(state, about)
    try:
        with replacing(file) as temporary:
            torch.onnx.export(
                captured(encoder, about.image_size),
                f=str(temporary),
                input_names=["images"],
                output_names=["features"],
                external_data=False,
                verbose=False,
            )
    except WriteError:
        raise
    # Of any class; PyTorch's own words are pages.
    except Exception as error:
        first = error
        while isinstance(first.__cause__, Exception):
            first = first.__cause__
        why = str(first).partition("\n")[0] or type(first).__name__
        raise ValueError(
            f"--format onnx: PyTorch cannot write {about.encoder}: {why}; choose another format"
        ) from error
    return (
        f"import onnxruntime\n\nsession = onnxruntime.InferenceSession({str(file)!r})\n"
        'features = session.run(None, {"images": images})[0]  # float32 [B, 3, '
        f"{about.image_size}, {about.image_size}]"
    )


def captured(encoder: nn.Module, image_size: int) -> torch.export.ExportedProgram:
    """Return an encoder's computation for any number of images of one size, as torch captures it.

    Parameters
    ----------
    encoder : nn.Module
        In eval mode.
    image_size : int
        The images' side in pixels.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    # The fast path of attention is one kernel, which no other tool has.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return torch.export.export(
            encoder,
            (torch.zeros(2, 3, image_size, image_size),),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


FORMATS: dict[str, Callable[[State, About, Path], str]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "onnx": _onnx,
    "safetensors": _safetensors,
}
"""What writes each form and returns the lines that load it."""
