"""Objectives with a target: a slow copy of the network that never leaves the client."""

import copy
import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from fedssl.base.fields import Number
from fedssl.objectives.base import KeepingConfig, Objective, ObjectiveConfig


def momentum_at(base: float, progress: float) -> float:
    """Return the target's momentum: from ``base`` to 1 along half a cosine.

    Source: Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, section 3.3:
    1 − (1 − base)·(cos(π·progress) + 1)/2.

    Examples
    --------
    >>> [round(momentum_at(0.99, progress), 4) for progress in (0.0, 0.5, 1.0)]
    [0.99, 0.995, 1.0]
    """
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2


class MomentumObjective(Objective):
    """An objective with a target: an exponential moving average of the network `online` returns.

    The online network comes from the server each round. The target is the client's own: it is set
    to the online network when the client first takes part, and moves towards what the client
    trains. Its momentum goes by the share of all rounds done, not by the client's steps, so a
    client that was away goes on where the schedule is by then; with ``on_return: resync`` its
    target is then set to the global model again.

    The average covers the parameters. In training the target's BatchNorm normalises by the
    statistics of its own batch, so its running statistics are read by nobody: they follow the
    target's own batches.
    """

    class Config(KeepingConfig):
        """The fields that a target needs."""

        momentum: Number = Field(0.99, ge=0, le=1)
        """Share of itself that the target keeps at each step."""
        momentum_schedule: Literal["cosine", "constant"] = "cosine"
        """cosine: the momentum rises to 1 over all rounds; constant: it stays."""

    config: Config

    private: ClassVar[tuple[str, ...]] = ("target",)
    target: nn.Sequential

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder = encoder

    def online(self) -> nn.Sequential:
        """Return the network that the target follows."""
        return nn.Sequential(self.encoder, self.projector)

    def make_target(self) -> None:
        """Build the target; call it when every module of `online` exists."""
        self.target = copy.deepcopy(self.online()).requires_grad_(False)

    @torch.no_grad()
    def start(self, generator: torch.Generator) -> None:
        """Set the target to the online network: parameters and running statistics."""
        self.target.load_state_dict(self.online().state_dict())

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the target's parameters towards the online network's."""
        momentum = self.config.momentum
        if self.config.momentum_schedule == "cosine":
            momentum = momentum_at(momentum, progress)
        for target, source in zip(
            self.target.parameters(), self.online().parameters(), strict=True
        ):
            target.lerp_(source, 1 - momentum)
