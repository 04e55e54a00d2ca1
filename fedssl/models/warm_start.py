"""Start from an encoder that was trained before: ``model.init``."""

from pathlib import Path

from torch import nn

from fedssl.model_state import copy_into, load_state

_PREFIX = "encoder."


def warm_start(encoder: nn.Module, path: Path) -> None:
    """Fill an encoder from a safetensors file.

    Parameters
    ----------
    encoder : nn.Module
        Filled in place; left as it was where the file does not fit it.
    path : Path
        The ``model.safetensors`` of a run, or a run's folder, or any safetensors file with the
        encoder's tensors by their names, with or without ``encoder.`` before each. What such a
        model holds beside its encoder is not used: heads start anew. Of the encoder's own, only
        counters may be missing.

    Raises
    ------
    ValueError
        The file cannot be read, or its names or shapes are another encoder's.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"model.init = {file}: there is no such file")
    try:
        state, _ = load_state(file)
    except Exception as error:
        raise ValueError(
            f"model.init = {file}: is no safetensors file ({error}); other formats are not read, "
            "since they may run code"
        ) from None
    if any(name.startswith(_PREFIX) for name in state):
        state = {n.removeprefix(_PREFIX): t for n, t in state.items() if n.startswith(_PREFIX)}
    own = encoder.state_dict()
    counters = {n: t for n, t in own.items() if not t.is_floating_point() and n not in state}
    try:
        copy_into(own, state | counters)
    except ValueError as error:
        raise ValueError(
            f"model.init = {file}: does not fit the encoder: {error}; give the model.encoder, with "
            "its fields, that it was trained with"
        ) from None
