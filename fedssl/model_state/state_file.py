"""A state as a safetensors file."""

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from fedssl.base.files import replacing
from fedssl.base.plain_files import check_plain
from fedssl.model_state.parts import State

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
    """Write a state as safetensors, never half a file, and without a copy of it in memory.

    Parameters
    ----------
    path : Path
        The file.
    state : Mapping[str, Tensor]
        The tensors.
    metadata : Mapping[str, str]
        What else the file is to say.
    mode : int (default: 0o666)
        Who may do what with the file, less the process's umask.

    Returns
    -------
    int
        The CRC-32 of what the file holds.

    Raises
    ------
    WriteError
        It cannot be written.
    KeyError
        A tensor has a type that none of ours have.
    """
    # Not by safetensors' own writers: that of files leaves one without a name of ours where it is
    # killed, and that of bytes takes twice the state's memory.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    crc32 = 0
    with replacing(path, mode) as temporary, temporary.open("wb") as file:
        for piece in _pieces(tensors, metadata):
            file.write(piece)
            crc32 = zlib.crc32(piece, crc32)
    return crc32


def _pieces(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Iterator[bytes | memoryview]:
    """Yield what a safetensors file holds: the length of its head, the head, and each tensor."""
    head: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    # The widest first, so that all are aligned.
    order = sorted(tensors, key=lambda name: (_NAMES.index(_DTYPES[tensors[name].dtype]), name))
    place = 0
    for name in order:
        tensor = tensors[name]
        end = place + tensor.nbytes
        dtype, shape = _DTYPES[tensor.dtype], list(tensor.shape)
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little")
    yield text
    for name in order:
        yield tensors[name].reshape(-1).view(torch.uint8).numpy().data


def load_state(path: Path) -> tuple[State, dict[str, str]]:
    """Read a safetensors file: its tensors and its metadata.

    Raises
    ------
    ConfigError
        There is no such file, or it is no plain one.
    SafetensorError
        It is damaged.
    """
    check_plain(path)
    with safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return state, dict(file.metadata() or {})
