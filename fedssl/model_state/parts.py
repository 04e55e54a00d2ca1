"""Which tensors of a model are federated, which stay on the client, and what their names mean.

A state is a dictionary of tensors by name. Three kinds of tensors are in it: trainable parameters,
floating buffers (BatchNorm's running statistics), and integer counters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

State = dict[str, Tensor]


class SplitModel(Protocol):
    """A module of which some tensors are private: an objective, with the encoder that it trains."""

    @property
    def private(self) -> tuple[str, ...]:
        """The names of the submodules or tensors that never leave the client."""

    def state_dict(self, *, keep_vars: bool = ...) -> dict[str, Any]:
        """Return all tensors by name."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters by name."""


def is_private(name: str, private: tuple[str, ...]) -> bool:
    """Tell whether a tensor belongs to one of the private submodules or tensors."""
    return any(name == part or name.startswith(f"{part}.") for part in private)


def split_state(objective: SplitModel, *, keep_vars: bool = False) -> tuple[State, State]:
    """Return the tensors that travel, and those that stay on the client.

    They share memory with the objective; with ``keep_vars`` they are its parameters and buffers
    themselves.
    """
    federated: State = {}
    private: State = {}
    for name, tensor in objective.state_dict(keep_vars=keep_vars).items():
        (private if is_private(name, objective.private) else federated)[name] = tensor
    return federated, private


def federated_state(objective: SplitModel) -> State:
    """Return the tensors that travel, sharing memory with the objective."""
    return split_state(objective)[0]


def private_state(objective: SplitModel) -> State:
    """Return the tensors that stay on the client, sharing memory with the objective."""
    return split_state(objective)[1]


def trained_names(objective: SplitModel) -> dict[str, None]:
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


def count_bytes(state: Mapping[str, Tensor]) -> int:
    """Return the size of a state's tensors in bytes."""
    return sum(t.numel() * t.element_size() for t in state.values())
