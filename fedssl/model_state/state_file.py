"""Write a state to a safetensors file, and read it."""

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from fedssl.base.files import atomic_write
from fedssl.base.plain_files import check_regular_file
from fedssl.model_state.tensor_roles import State

_DTYPES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_NAMES = list(_DTYPES.values())
"""How safetensors calls the types, in the order in which it writes them."""


def save_state(
    path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str], *, mode: int = 0o666
) -> int:
    """Write a state to a safetensors file, atomically and without a copy of it in memory.

    Parameters
    ----------
    path : Path
        The file.
    state : Mapping[str, Tensor]
        The tensors.
    metadata : Mapping[str, str]
        The metadata of the file's header.
    mode : int (default: 0o666)
        The file's permission bits, before the process's umask.

    Returns
    -------
    int
        The CRC-32 of the file's content.

    Raises
    ------
    WriteError
        The file cannot be written.
    KeyError
        A tensor has an unsupported type.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.safetensors"
    ...     crc32 = save_state(path, {"weight": torch.ones(2)}, {"round": "3"})
    ...     crc32 == zlib.crc32(path.read_bytes())
    True
    """
    # Not by safetensors' own writers: if killed, `save_file` leaves a temporary file that nothing
    # removes, and `save` takes twice the state's memory.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    crc32 = 0
    with atomic_write(path, mode) as temporary, temporary.open("wb") as file:
        for piece in _pieces(tensors, metadata):
            file.write(piece)
            crc32 = zlib.crc32(piece, crc32)
    return crc32


def _pieces(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Iterator[bytes | memoryview]:
    """Yield the content of a safetensors file: the header's length, the header, each tensor."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    # The widest first, so that all are aligned.
    order = sorted(tensors, key=lambda name: (_NAMES.index(_DTYPES[tensors[name].dtype]), name))
    offset = 0
    for name in order:
        tensor = tensors[name]
        end = offset + tensor.nbytes
        dtype, shape = _DTYPES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little")
    yield text
    for name in order:
        yield tensors[name].reshape(-1).view(torch.uint8).numpy().data


def load_state(path: Path) -> tuple[State, dict[str, str]]:
    """Return a safetensors file's tensors and metadata.

    Raises
    ------
    ConfigError
        The file does not exist, or is not a regular file.
    SafetensorError
        The file is damaged.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.safetensors"
    ...     _ = save_state(path, {"weight": torch.ones(2)}, {"round": "3"})
    ...     load_state(path)
    ({'weight': tensor([1., 1.])}, {'round': '3'})
    """
    check_regular_file(path)
    with safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return state, dict(file.metadata() or {})
