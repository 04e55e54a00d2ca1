"""Initialise an encoder with the weights of an earlier one (``model.init``)."""

from pathlib import Path

from torch import nn

from fedssl.model_state import copy_into, load_state

_PREFIX = "encoder."


def warm_start(encoder: nn.Module, path: Path) -> None:
    """Load an encoder's weights from a safetensors file.

    Parameters
    ----------
    encoder : nn.Module
        The encoder, which is changed in place; if the file does not fit, nothing is changed.
    path : Path
        A run's folder, its ``model.safetensors``, or any safetensors file with the encoder's
        tensors by their names, with or without ``encoder.`` before each. Other tensors of the file,
        such as a projector's, are ignored. Only counters may be missing.

    Raises
    ------
    ValueError
        The file cannot be read, or its names or shapes are not those of the encoder.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"model.init = {file}: there is no such file")
    try:
        state, _ = load_state(file)
    except Exception as error:
        raise ValueError(
            f"model.init = {file}: is not a safetensors file ({error}); other formats are not "
            "read, since they may run code"
        ) from None
    if any(name.startswith(_PREFIX) for name in state):
        state = {n.removeprefix(_PREFIX): t for n, t in state.items() if n.startswith(_PREFIX)}
    target = encoder.state_dict()
    counters = {n: t for n, t in target.items() if not t.is_floating_point() and n not in state}
    try:
        copy_into(target, state | counters)
    except ValueError as error:
        raise ValueError(
            f"model.init = {file}: does not fit the encoder: {error}; give the model.encoder, with "
            "its fields, that it was trained with"
        ) from None
