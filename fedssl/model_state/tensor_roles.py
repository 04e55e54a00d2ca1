"""Which tensors of a model are federated and which are private, and their other roles.

A state is a dictionary of tensors by name: trainable parameters, floating buffers (BatchNorm's
running statistics) and integer counters. Federated tensors are those of the global model; a
strategy may transmit only some of them in a round (`fedssl.training.transmission`). Private tensors
never leave the client.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

State = dict[str, Tensor]


class SplitModel(Protocol):
    """A module of which some tensors are private: an objective with its encoder.

    Examples
    --------
    >>> class Model(nn.Module):
    ...     private = ("target",)
    ...
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.encoder, self.target = nn.Linear(2, 1), nn.Linear(2, 1)
    >>> list(split_state(Model())[1])
    ['target.weight', 'target.bias']
    """

    @property
    def private(self) -> tuple[str, ...]:
        """The names of the submodules or tensors that never leave the client."""

    def state_dict(self, *, keep_vars: bool = ...) -> dict[str, Any]:
        """Return all tensors by name."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters by name."""


def is_private(name: str, private: tuple[str, ...]) -> bool:
    """Return whether a tensor is one of the private tensors, or of the private submodules.

    Examples
    --------
    >>> is_private("target.weight", ("target", "queue")), is_private("targets", ("target",))
    (True, False)
    """
    return any(name == other or name.startswith(f"{other}.") for other in private)


def split_state(objective: SplitModel, *, keep_vars: bool = False) -> tuple[State, State]:
    """Return the federated and the private tensors.

    They share memory with the objective; with ``keep_vars`` they are its parameter and buffer
    objects.

    Examples
    --------
    >>> model = nn.ModuleDict({"encoder": nn.Linear(2, 1), "target": nn.Linear(2, 1)})
    >>> model.private = ("target",)  # as an objective has it
    >>> federated, private = split_state(model)
    >>> list(federated), list(private)
    (['encoder.weight', 'encoder.bias'], ['target.weight', 'target.bias'])
    """
    federated: State = {}
    private: State = {}
    for name, tensor in objective.state_dict(keep_vars=keep_vars).items():
        (private if is_private(name, objective.private) else federated)[name] = tensor
    return federated, private


def federated_state(objective: SplitModel) -> State:
    """Return the federated tensors, which share memory with the objective.

    Examples
    --------
    >>> model = nn.ModuleDict({"encoder": nn.Linear(2, 1), "target": nn.Linear(2, 1)})
    >>> model.private = ("target",)  # as an objective has it
    >>> list(federated_state(model))
    ['encoder.weight', 'encoder.bias']
    """
    return split_state(objective)[0]


def private_tensors(objective: SplitModel) -> State:
    """Return the private tensors, which share memory with the objective.

    Examples
    --------
    >>> model = nn.ModuleDict({"encoder": nn.Linear(2, 1), "target": nn.Linear(2, 1)})
    >>> model.private = ("target",)  # as an objective has it
    >>> list(private_tensors(model))
    ['target.weight', 'target.bias']
    """
    return split_state(objective)[1]


def trainable_names(objective: SplitModel) -> dict[str, None]:
    """Return the names of the trained federated tensors, in the model's order, as keys.

    Examples
    --------
    >>> model = nn.ModuleDict({"encoder": nn.Linear(2, 1), "target": nn.Linear(2, 1)})
    >>> model.private = ("target",)  # as an objective has it
    >>> _ = model["encoder"].bias.requires_grad_(False)
    >>> list(trainable_names(model))
    ['encoder.weight']
    """
    federated, named = federated_state(objective), objective.named_parameters()
    return dict.fromkeys(n for n, p in named if p.requires_grad and n in federated)


def floating_buffer_names(module: nn.Module) -> frozenset[str]:
    """Return the names of the floating buffers, such as BatchNorm's running mean and variance.

    Examples
    --------
    >>> sorted(floating_buffer_names(nn.BatchNorm1d(2)))
    ['running_mean', 'running_var']
    """
    return frozenset(n for n, b in module.named_buffers() if b.is_floating_point())


def parameter_names(state: Mapping[str, Tensor], buffers: frozenset[str]) -> list[str]:
    """Return the names of the floating tensors that are not buffers, in their order.

    Examples
    --------
    >>> state = nn.BatchNorm1d(2).state_dict()
    >>> parameter_names(state, frozenset({"running_mean", "running_var"}))
    ['weight', 'bias']
    """
    return [name for name, t in state.items() if t.is_floating_point() and name not in buffers]


@dataclass(frozen=True)
class TensorRoles:
    """The roles of a model's tensors, by name, for code that has no module but only a state.

    Examples
    --------
    >>> roles = tensor_roles(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    >>> sorted(roles.buffers), sorted(roles.counters)
    (['1.running_mean', '1.running_var'], ['1.num_batches_tracked'])
    """

    names: tuple[str, ...] = ()
    """The names of all tensors, in the model's order."""
    buffers: frozenset[str] = frozenset()
    """The names of the floating buffers, such as BatchNorm's running statistics."""
    batchnorm_names: frozenset[str] = frozenset()
    """The names of BatchNorm's tensors: scale, shift, running statistics and counters."""
    projection_width: int = 0
    """The width of a projection; 0 if it is unknown."""

    @cached_property
    def variances(self) -> frozenset[str]:
        """The names of BatchNorm's running variances."""
        return frozenset(name for name in self.batchnorm_names if name.endswith("running_var"))

    @cached_property
    def counters(self) -> frozenset[str]:
        """The names of BatchNorm's counters of batches."""
        return frozenset(
            name for name in self.batchnorm_names if name.endswith("num_batches_tracked")
        )


def tensor_roles(module: nn.Module) -> TensorRoles:
    """Return the roles of a module's tensors.

    Examples
    --------
    >>> roles = tensor_roles(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    >>> roles.names[:4]
    ('0.weight', '0.bias', '1.weight', '1.bias')
    >>> sorted(roles.variances)
    ['1.running_var']
    """
    norms = (
        f"{prefix}.{name}" if prefix else name
        for prefix, submodule in module.named_modules()
        if isinstance(submodule, _BatchNorm)
        for name in submodule.state_dict()
    )
    return TensorRoles(
        tuple(module.state_dict()),
        floating_buffer_names(module),
        frozenset(norms),
        _projection_width(module),
    )


def _projection_width(module: nn.Module) -> int:
    """Return the projection's width: that of the last linear layer, else that of the features."""
    projector = getattr(module, "projector", None)
    layers = projector.modules() if isinstance(projector, nn.Module) else ()
    widths = [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]
    features = getattr(getattr(module, "encoder", None), "features", 0)
    return int(widths[-1] if widths else features)


def count_bytes(state: Mapping[str, Tensor]) -> int:
    """Return the size of a state's tensors in bytes.

    Examples
    --------
    >>> import torch
    >>> count_bytes({"weight": torch.zeros(2, 3)})
    24
    """
    return sum(t.numel() * t.element_size() for t in state.values())
