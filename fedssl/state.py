"""A model's state: which tensors are federated, which stay on the client, and how it is copied.

A state is a dictionary of tensors by name. Three kinds of tensors are in it: trainable parameters,
floating buffers (BatchNorm's running statistics), and integer counters.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fedssl.objectives.base import Objective

State = dict[str, Tensor]


def is_private(name: str, private: tuple[str, ...]) -> bool:
    """Tell whether a tensor belongs to one of the private submodules or tensors."""
    return any(name == part or name.startswith(f"{part}.") for part in private)


def federated_state(objective: Objective) -> State:
    """Return the tensors that travel, sharing memory with the objective."""
    state = objective.state_dict()
    return {n: t for n, t in state.items() if not is_private(n, objective.private)}


def private_state(objective: Objective) -> State:
    """Return the tensors that stay on the client, sharing memory with the objective."""
    state = objective.state_dict()
    return {n: t for n, t in state.items() if is_private(n, objective.private)}


def floating_buffers(module: nn.Module) -> frozenset[str]:
    """Return the names of the floating buffers: BatchNorm's running mean and variance."""
    return frozenset(n for n, b in module.named_buffers() if b.is_floating_point())


def clone(state: Mapping[str, Tensor]) -> State:
    """Copy a state, so that it no longer shares memory."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}


@torch.no_grad()
def copy_into(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    """Copy one state into another in place; a differing element type is converted.

    Raises
    ------
    ValueError
        The two do not have the same names and shapes; both are left as they were.
    """
    if missing := target.keys() ^ source.keys():
        raise ValueError(f"the models differ: only one of them has {', '.join(sorted(missing))}")
    for name, tensor in target.items():
        if tensor.shape != source[name].shape:
            raise ValueError(
                f"the models differ: {name} is {tuple(source[name].shape)} in one and "
                f"{tuple(tensor.shape)} in the other"
            )
    for name, tensor in target.items():
        value = source[name]
        # A mean of integer counters arrives as a float: the nearest count, not the floor.
        if value.is_floating_point() and not tensor.is_floating_point():
            value = value.round()
        tensor.copy_(value)


def count_bytes(state: Mapping[str, Tensor]) -> int:
    """Return the size of a state's tensors in bytes."""
    return sum(t.numel() * t.element_size() for t in state.values())


def save_state(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a state as safetensors: to a temporary name, then renamed, so never half a file."""
    temporary = path.with_name(f".{path.name}.writing")
    # Copies: safetensors refuses tensors that share memory, such as tied weights.
    tensors = {n: t.detach().cpu().contiguous().clone() for n, t in state.items()}
    save_file(tensors, temporary, dict(metadata))
    temporary.replace(path)


def load_state(path: Path) -> tuple[State, dict[str, str]]:
    """Read a safetensors file: its tensors and its metadata."""
    with safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return state, dict(file.metadata() or {})
