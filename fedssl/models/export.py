"""Export a trained encoder: ONNX, a file of tensors, or a format that its modality adds."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from fedssl.base.fields import suggest_name
from fedssl.base.files import WriteError, atomic_write
from fedssl.modalities import MODALITIES
from fedssl.model_state import State, save_state
from fedssl.models.model_file import ModelDescription, read_model, rebuild_encoder

Exporter = Callable[[State, ModelDescription, Path], str]
"""Writes a model's encoder to a file, and returns lines of Python that load it."""


def export(run: str | Path, form: str, out: Path | None = None) -> tuple[Path, str]:
    """Export a run's encoder to a file in another tool's format.

    With a finished run in ``runs/my-run``::

        file, code = export("runs/my-run", "onnx")
        print(code)  # how to load the file

    Parameters
    ----------
    run : str | Path
        A run folder, or its ``model.safetensors``.
    form : {"torchvision", "timm", "onnx", "safetensors"}
        torchvision, timm (for images): a state dict as safetensors with that library's names,
        without the classifier. onnx: the network, for any number of examples. safetensors: the
        encoder's tensors with fedssl's names.
    out : Path | None (default: None)
        The file; by default in the model's folder, with the format in its name.

    Returns
    -------
    tuple[Path, str]
        The file, and lines of Python that load it.

    Raises
    ------
    ValueError
        The format does not exist, the tool does not have this network, or a required package is
        not installed.
    """
    check_format(form)
    state, about = read_model(run)
    folder = Path(run) if Path(run).is_dir() else Path(run).parent
    file = out or default_export_file(folder, form)
    return file, write(state, about, form, file)


def check_format(form: str) -> None:
    """Raise a ValueError if the format does not exist.

    Examples
    --------
    >>> check_format("onnx")
    """
    if form not in format_names():
        raise ValueError(
            f"--format {form}: there is no such format; {suggest_name(form, format_names())}"
        )


def default_export_file(folder: Path, form: str) -> Path:
    """Return the file in a run's folder that an export in this format writes by default.

    Examples
    --------
    >>> default_export_file(Path("run"), "onnx").name
    'encoder-onnx.onnx'
    """
    suffix = ".onnx" if form == "onnx" else ".safetensors"
    return folder / f"encoder-{form}{suffix}"


def write(state: State, about: ModelDescription, form: str, file: Path) -> str:
    """Write a model's encoder in another tool's format; return lines of Python that load it.

    Parameters
    ----------
    state : State
        The model's tensors, named as in the objective.
    about : ModelDescription
        The description of the model.
    form, file
        See `export`, also for the errors.
    """
    check_format(form)
    if form in FORMATS:
        return FORMATS[form](state, about, file)
    modality_formats = about.modality.formats
    if form not in modality_formats:
        raise ValueError(
            f"--format {form}: is not for encoders of {about.modality.noun[1]}; "
            f"{suggest_name(form, [*modality_formats, *FORMATS])}"
        )
    return modality_formats[form](state, about, file)


def _safetensors(state: State, about: ModelDescription, file: Path) -> str:
    save_state(file, about.encoder_in(state), {"fedssl": about.to_json()})
    return f"from safetensors.torch import load_file\n\nstate = load_file({str(file)!r})"


def _onnx(state: State, about: ModelDescription, file: Path) -> str:
    if missing := [n for n in ("onnx", "onnxscript") if importlib.util.find_spec(n) is None]:
        raise ValueError(f"--format onnx needs {' and '.join(missing)}: pip install 'fedssl[onnx]'")
    encoder, noun = rebuild_encoder(state, about), about.modality.noun[1]
    shape = ", ".join(map(str, about.prepared.shape))
    try:
        with atomic_write(file) as temporary:
            torch.onnx.export(
                export_program(encoder, about.blank(2)),
                f=str(temporary),
                input_names=[noun],
                output_names=["features"],
                external_data=False,
                verbose=False,
            )
    except WriteError:
        raise
    # PyTorch raises errors of any class, with messages of many pages.
    except Exception as error:
        cause = error
        while isinstance(cause.__cause__, Exception):
            cause = cause.__cause__
        reason = str(cause).partition("\n")[0] or type(cause).__name__
        raise ValueError(
            f"--format onnx: PyTorch cannot write {about.model.encoder.name}: {reason}; choose "
            "another format"
        ) from error
    return (
        f"import onnxruntime\n\nsession = onnxruntime.InferenceSession({str(file)!r})\n"
        f'features = session.run(None, {{"{noun}": {noun}}})[0]  # float32 [B, {shape}]'
    )


def export_program(encoder: nn.Module, examples: Tensor) -> torch.export.ExportedProgram:
    """Export an encoder's computation with `torch.export`, for any number of examples.

    Parameters
    ----------
    encoder : nn.Module
        The encoder, in eval mode.
    examples : Tensor
        Any two prepared examples, float32 [2, …].
    """
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    # The fast path of attention is a kernel that no other tool has.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return torch.export.export(
            encoder,
            (examples,),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)


FORMATS: dict[str, Exporter] = {"onnx": _onnx, "safetensors": _safetensors}
"""The export formats for all encoders."""


def format_names() -> list[str]:
    """Return the names of all export formats; some are for one modality alone.

    Examples
    --------
    >>> "onnx" in format_names(), "torchvision" in format_names()
    (True, True)
    """
    return [*(name for m in MODALITIES.values() for name in m.formats), *FORMATS]
