"""A model's state: which tensors are federated, which stay on the client, and how it is copied.

A state is a dictionary of tensors by name. Three kinds of tensors are in it: trainable parameters,
floating buffers (BatchNorm's running statistics), and integer counters.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fedssl.allocator import aligned, allocate
from fedssl.files import replacing
from fedssl.plain_files import check_plain

if TYPE_CHECKING:
    from fedssl.objectives.base import Objective

State = dict[str, Tensor]

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


def is_private(name: str, private: tuple[str, ...]) -> bool:
    """Tell whether a tensor belongs to one of the private submodules or tensors."""
    return any(name == part or name.startswith(f"{part}.") for part in private)


def split_state(objective: "Objective", *, keep_vars: bool = False) -> tuple[State, State]:
    """Return the tensors that travel, and those that stay on the client.

    They share memory with the objective; with ``keep_vars`` they are its parameters and buffers
    themselves.
    """
    federated: State = {}
    private: State = {}
    for name, tensor in objective.state_dict(keep_vars=keep_vars).items():
        (private if is_private(name, objective.private) else federated)[name] = tensor
    return federated, private


def federated_state(objective: "Objective") -> State:
    """Return the tensors that travel, sharing memory with the objective."""
    return split_state(objective)[0]


def private_state(objective: "Objective") -> State:
    """Return the tensors that stay on the client, sharing memory with the objective."""
    return split_state(objective)[1]


def trained_names(objective: "Objective") -> dict[str, None]:
    """Return the names of the federated tensors that are trained, in their order."""
    federated, named = federated_state(objective), objective.named_parameters()
    return dict.fromkeys(n for n, p in named if p.requires_grad and n in federated)


def floating_buffers(module: nn.Module) -> frozenset[str]:
    """Return the names of the floating buffers: BatchNorm's running mean and variance."""
    return frozenset(n for n, b in module.named_buffers() if b.is_floating_point())


def parameters(state: Mapping[str, Tensor], buffers: frozenset[str]) -> list[str]:
    """Return the names of the floating tensors that are no BatchNorm statistics, in their order."""
    return [name for name, t in state.items() if t.is_floating_point() and name not in buffers]


@dataclass(frozen=True)
class ModelParts:
    """What the names of a model's tensors mean, for who sees the tensors alone."""

    names: tuple[str, ...] = ()
    """All tensors, in their order."""
    buffers: frozenset[str] = frozenset()
    """The floating buffers: BatchNorm's running statistics."""
    norms: frozenset[str] = frozenset()
    """All that belongs to BatchNorm: scale, shift, statistics and counters."""
    projection: int = 0
    """The width of a projection; 0 where it is not known."""

    @cached_property
    def variances(self) -> frozenset[str]:
        """BatchNorm's running variances."""
        return frozenset(name for name in self.norms if name.endswith("running_var"))

    @cached_property
    def counters(self) -> frozenset[str]:
        """BatchNorm's counts of the batches that it saw."""
        return frozenset(name for name in self.norms if name.endswith("num_batches_tracked"))


def model_parts(module: nn.Module) -> ModelParts:
    """Return what the names of a module's tensors mean."""
    norms = (
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        if isinstance(part, _BatchNorm)
        for name in part.state_dict()
    )
    return ModelParts(
        tuple(module.state_dict()),
        floating_buffers(module),
        frozenset(norms),
        _projection_width(module),
    )


def _projection_width(module: nn.Module) -> int:
    """Return how many numbers a projector gives, by its last linear layer; 0 without one."""
    projector = getattr(module, "projector", None)
    layers = projector.modules() if isinstance(projector, nn.Module) else ()
    widths = [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]
    features = getattr(getattr(module, "encoder", None), "features", 0)
    return int(widths[-1] if widths else features)


@torch.no_grad()
def clone(state: Mapping[str, Tensor]) -> State:
    """Copy a state, so that it no longer shares memory."""
    if not state:
        return {}
    copies = allocate(state, next(iter(state.values())).device)
    torch._foreach_copy_(list(copies.values()), list(state.values()))
    return copies


@torch.no_grad()
def copy_into(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    """Copy one state into another in place; a differing element type is converted.

    Raises
    ------
    ValueError
        The two do not have the same names and shapes; both are left as they were.
    """
    check_same(target, source)
    for name, tensor in target.items():
        tensor.copy_(_converted(source[name], tensor))


@torch.no_grad()
def adopt(
    objective: "Objective",
    federated: Mapping[str, Tensor],
    private: Mapping[str, Tensor] | None = None,
) -> None:
    """Let an objective's tensors take the memory of others as their own, without a copy.

    What their memory was stays with whoever else refers to it. Only a tensor of another element
    type, device or alignment is copied.

    Parameters
    ----------
    objective : Objective
        Whose parameters and buffers are meant; the objects stay the same.
    federated : Mapping[str, Tensor]
        What the federated ones become; from now on shared with the objective.
    private : Mapping[str, Tensor] | None (default: None)
        What the private ones become; None leaves them.

    Raises
    ------
    ValueError
        Names or shapes are not the objective's, which is left as it was.
    """
    own = split_state(objective, keep_vars=True)
    pairs = (
        [(own[0], federated)]
        if private is None
        else list(zip(own, (federated, private), strict=True))
    )
    for target, source in pairs:
        check_same(target, source)
    for target, source in pairs:
        for name, tensor in target.items():
            value = _converted(source[name].detach(), tensor).to(tensor.device, tensor.dtype)
            tensor.data = aligned(value)


def check_same(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    """Raise a ValueError where two states do not have the same names and shapes."""
    if missing := sorted(target.keys() ^ source.keys()):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"the models differ: only one of them has {missing[0]}{more}")
    for name, tensor in target.items():
        if tensor.shape != source[name].shape:
            raise ValueError(
                f"the models differ: {name} is {tuple(source[name].shape)} in one and "
                f"{tuple(tensor.shape)} in the other"
            )


def _converted(value: Tensor, like: Tensor) -> Tensor:
    """Round where a float becomes an integer: the nearest count to a mean of counts, not below."""
    if value.is_floating_point() and not like.is_floating_point():
        return value.round()
    return value


def count_bytes(state: Mapping[str, Tensor]) -> int:
    """Return the size of a state's tensors in bytes."""
    return sum(t.numel() * t.element_size() for t in state.values())


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
