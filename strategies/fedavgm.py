"""FedAvgM: FedAvg with momentum on the server."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from strategies.config import StrategyConfig
from strategies.server_optimizer import ServerOptimizer


class FedAvgM(ServerOptimizer):
    """FedAvg with momentum on the server: where rounds pull this way and that.

    v ← β·v + Δ̄;  g' = g + η·v, where v begins at 0: see `ServerOptimizer`.

    For when the mean update changes its direction from round to round, as with small or very
    different cohorts: momentum averages over rounds. With β near 1 it moves 1/(1 − β) times as far
    in the end; lower η then.

    Source: Hsu, Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution for
    Federated Visual Classification", 2019.

    Examples
    --------
    >>> import torch
    >>> strategy = FedAvgM(FedAvgM.Config(momentum=0.5))
    >>> strategy.step("w", torch.tensor([1.0]))
    tensor([1.])
    >>> strategy.step("w", torch.tensor([1.0]))  # half of the last round's step goes on
    tensor([1.5000])
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedAvgM."""

        name: Literal["fedavgm"] = "fedavgm"
        """The name of this strategy."""
        lr: Number = Field(1.0, gt=0)
        """η, the server's learning rate."""
        momentum: Number = Field(0.9, ge=0, lt=1)
        """β: how much of the last round's step goes on."""

    config: Config

    def step(self, name: str, update: Tensor) -> Tensor:
        """Return η·v."""
        velocity = self.config.momentum * self.kept("momentum", name, update) + update
        return self.config.lr * self.keep("momentum", name, velocity)

    def __repr__(self) -> str:
        return f"FedAvgM: lr {self.config.lr}, momentum {self.config.momentum}"
