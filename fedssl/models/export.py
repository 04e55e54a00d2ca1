"""A trained encoder for other tools: ONNX, a plain file of tensors, or what its modality adds."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from fedssl.base.fields import nearest
from fedssl.base.files import WriteError, replacing
from fedssl.modalities import MODALITIES
from fedssl.model_state import State, save_state
from fedssl.models.model_file import About, encoder_of, read_model

Form = Callable[[State, About, Path], str]
"""Writes a model's encoder into a file, and returns the lines of Python that load it."""


def export(run: str | Path, form: str, out: Path | None = None) -> tuple[Path, str]:
    """Write a run's encoder in another tool's form.

    Parameters
    ----------
    run : str | Path
        A run folder, or its ``model.safetensors``.
    form : {"torchvision", "timm", "onnx", "safetensors"}
        torchvision, timm (of images): a state dict as safetensors, with that library's names, of
        all but the classifier. onnx: the network itself, for any number of examples. safetensors:
        the encoder's tensors, with fedssl's names.
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
    if form not in forms():
        raise ValueError(f"--format {form}: there is no such format; {nearest(form, forms())}")


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
    if form in FORMATS:
        return FORMATS[form](state, about, file)
    fitting = about.modality.formats
    if form not in fitting:
        raise ValueError(
            f"--format {form}: is not for encoders of {about.modality.noun[1]}; "
            f"{nearest(form, [*fitting, *FORMATS])}"
        )
    return fitting[form](state, about, file)


def _safetensors(state: State, about: About, file: Path) -> str:
    save_state(file, about.encoder_in(state), {"fedssl": about.to_json()})
    return f"from safetensors.torch import load_file\n\nstate = load_file({str(file)!r})"


def _onnx(state: State, about: About, file: Path) -> str:
    if missing := [n for n in ("onnx", "onnxscript") if importlib.util.find_spec(n) is None]:
        raise ValueError(f"--format onnx needs {' and '.join(missing)}: pip install 'fedssl[onnx]'")
    encoder, noun = encoder_of(state, about), about.modality.noun[1]
    shape = ", ".join(map(str, about.prepared.shape))
    try:
        with replacing(file) as temporary:
            torch.onnx.export(
                captured(encoder, about.blank(2)),
                f=str(temporary),
                input_names=[noun],
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
            f"--format onnx: PyTorch cannot write {about.model.encoder.name}: {why}; choose "
            "another format"
        ) from error
    return (
        f"import onnxruntime\n\nsession = onnxruntime.InferenceSession({str(file)!r})\n"
        f'features = session.run(None, {{"{noun}": {noun}}})[0]  # float32 [B, {shape}]'
    )


def captured(encoder: nn.Module, examples: Tensor) -> torch.export.ExportedProgram:
    """Return an encoder's computation for any number of examples, as torch captures it.

    Parameters
    ----------
    encoder : nn.Module
        In eval mode.
    examples : Tensor
        float32 [2, …], prepared: any, to try.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    # The fast path of attention is one kernel, which no other tool has.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return torch.export.export(
            encoder,
            (examples,),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


FORMATS: dict[str, Form] = {"onnx": _onnx, "safetensors": _safetensors}
"""The forms that fit every encoder."""


def forms() -> list[str]:
    """Return the names of all forms, of which some are for one modality alone."""
    return [*(name for m in MODALITIES.values() for name in m.formats), *FORMATS]
