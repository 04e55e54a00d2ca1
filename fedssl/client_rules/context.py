"""What a client rule is told: of a visit before it trains, of each step, and of the update made."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from fedssl.model_state import ModelParts
from fedssl.objectives.base import Objective
from fedssl.objectives.batch import Batch


@dataclass(frozen=True)
class Visit:
    """A client's round, before its first step."""

    round: int
    """From 1."""
    received: Mapping[str, Tensor]
    """All federated tensors: as they were sent, and the client's own of what did not travel.
    Only to be read."""
    sent: Collection[str]
    """The names of those that were sent, in the model's order: so sums over them are the same."""
    trained: Collection[str]
    """The names of those that are trained, in the model's order."""
    parts: ModelParts
    """What the names mean."""
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    """What this rule remembered at the end of the last visit; empty on the first."""
    last_round: int | None = None
    """The round of the last visit; None on the first."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """What the strategy sent for this rule beside the model."""
    momentum: float = 0.0
    """That of the client's optimiser."""
    nesterov: bool = False
    """Whether it is Nesterov's."""
    lr: float = 0.0
    """The learning rate of this round."""
    seed: int = 0
    """The experiment's: for what begins alike on all clients."""
    draws: torch.Generator = field(default_factory=torch.Generator)
    """The source of all else that the rule draws; on the CPU."""


@dataclass
class LocalStep:
    """A step of a local update, whose loss is known and whose gradients are not yet."""

    objective: Objective
    """In training."""
    batch: Batch
    """What the step is made with."""
    weights: Mapping[str, Tensor]
    """The federated parameters in training, by name; their gradients flow."""
    start: Mapping[str, Tensor]
    """All federated tensors as the update began; only to be read."""
    take_projections: Callable[[], list[tuple[Tensor, Tensor]]]
    """Returns what was projected since the last call; see `projections`."""
    draw_views: Callable[[], Tensor]
    """Returns a view, float32 [B, …], of as many examples, which are drawn from the client's."""

    @cached_property
    def projections(self) -> list[tuple[Tensor, Tensor]]:
        """Examples [B, …] as the encoder got them, and their projections [B, D], in their order.

        An objective that projects all views at once gives one pair of them all. Only for rules
        that have ``watches`` set.
        """
        return self.take_projections()

    @property
    def views(self) -> list[tuple[Tensor, Tensor]]:
        """The same, each of one view: examples [B, …] and projections [B, D]."""
        size = len(self.batch.index)
        return [
            (examples, projected)
            for one, other in self.projections
            for examples, projected in zip(
                torch.split(one, size), torch.split(other, size), strict=True
            )
        ]


@dataclass(frozen=True)
class Update:
    """A client's update, once it is made."""

    visit: Visit
    """What it began with."""
    before: Mapping[str, Tensor]
    """All federated tensors as it began; only to be read."""
    after: Mapping[str, Tensor]
    """The same as it ended."""
    steps: int
    """How many steps there were."""
