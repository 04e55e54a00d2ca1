"""The inputs of a client rule: the client's round, one local step, and the finished update."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from fedssl.model_state import TensorRoles
from fedssl.objectives.base import Objective
from fedssl.objectives.batch import Batch


@dataclass(frozen=True)
class ClientRound:
    """What one client rule knows of a client's round before the first local step.

    Examples
    --------
    To try a rule without a run:

    >>> start = {"weight": torch.zeros(2)}
    >>> client_round = ClientRound(1, start, list(start), list(start), TensorRoles(), lr=0.1)
    >>> client_round.last_round is None, client_round.memory  # the client's first round
    (True, {})
    """

    server_round: int
    """The number of the round, from 1."""
    round_start: Mapping[str, Tensor]
    """All federated tensors at the start of the round: those in the message as they were received,
    the others, and scheduled ones that are newer on the client, as this client stored them. Rules
    only read them."""
    received_names: Collection[str]
    """The names of the tensors in the message, in the model's order, which fixes the order of
    sums."""
    trainable_names: Collection[str]
    """The names of the federated tensors that are trained, in the model's order."""
    roles: TensorRoles
    """The roles of the model's tensors, by name."""
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    """The tensors that this rule remembered in the client's last round; empty in its first."""
    last_round: int | None = None
    """The last round in which this client trained; None in its first."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """The extra tensors that the strategy sent for this rule."""
    momentum: float = 0.0
    """The momentum of the client's optimiser."""
    nesterov: bool = False
    """Whether the optimiser uses Nesterov's momentum."""
    lr: float = 0.0
    """The learning rate of this round."""
    seed: int = 0
    """The experiment's seed, for values that must be equal on all clients."""
    generator: torch.Generator = field(default_factory=torch.Generator)
    """The generator of all other random numbers of this rule, on the CPU."""


@dataclass
class LocalStep:
    """A local step after the objective's loss is computed and before the backward pass.

    Examples
    --------
    In a client rule, a term that keeps the weights near those of the start::

        def term(self, step):
            moved = ((w - step.training_start[name]) for name, w in step.weights.items())
            return self.config.weight * sum(difference.square().sum() for difference in moved)
    """

    objective: Objective
    """The model, in train mode."""
    batch: Batch
    """The step's batch."""
    weights: Mapping[str, Tensor]
    """The trainable federated parameters by name; gradients flow through them."""
    training_start: Mapping[str, Tensor]
    """All federated tensors from which the update started. Rules only read them."""
    read_projections: Callable[[], list[tuple[Tensor, Tensor]]]
    """Returns the projections since the last call; see `projections`."""
    sample_view: Callable[[], Tensor]
    """Returns one view, float32 [B, …], of each example in a new random batch of the client's."""

    @cached_property
    def projections(self) -> list[tuple[Tensor, Tensor]]:
        """The encoder's inputs [B, …] and their projections [B, D], in the order of computation.

        An objective that projects all views at once gives one pair for all of them. Only a rule
        that sets ``needs_projections`` may read them.
        """
        return self.read_projections()

    @property
    def views(self) -> list[tuple[Tensor, Tensor]]:
        """The same inputs [B, …] and projections [B, D], as one pair for each view."""
        size = len(self.batch.index)
        return [
            (examples, projected)
            for all_examples, all_projected in self.projections
            for examples, projected in zip(
                torch.split(all_examples, size), torch.split(all_projected, size), strict=True
            )
        ]


@dataclass(frozen=True)
class Update:
    """A client's finished local update, as its rules see it.

    Examples
    --------
    >>> start, end = {"weight": torch.zeros(2)}, {"weight": torch.ones(2)}
    >>> client_round = ClientRound(1, start, list(start), list(start), TensorRoles())
    >>> update = Update(client_round, start, end, steps=5)
    >>> {name: after - update.before[name] for name, after in update.after.items()}
    {'weight': tensor([1., 1.])}
    """

    client_round: ClientRound
    """The client's round, as it was before the first step."""
    before: Mapping[str, Tensor]
    """All federated tensors from which the update started. Rules only read them."""
    after: Mapping[str, Tensor]
    """All federated tensors at the end of the update."""
    steps: int
    """The number of optimiser steps."""
