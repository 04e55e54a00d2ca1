"""FedAvgM: FedAvg with momentum on the server."""

from typing import Literal

from flwr.serverapp.strategy import Strategy
from pydantic import Field
from torch import Tensor

from fedssl.fields import Number
from fedssl.state import ModelParts
from strategies.config import StrategyConfig
from strategies.server_optimizer import ServerOptimizer


class FedAvgM(ServerOptimizer):
    """Let the server's steps gather momentum.

    v ← β·v + Δ̄;  g' = g + η·v, where v begins at 0: see `ServerOptimizer`.

    For when the mean update changes its direction from round to round, as with small or very
    different cohorts: momentum averages over rounds. With β near 1 it moves 1/(1 − β) times as far
    in the end; lower η then.

    Parameters
    ----------
    lr : float (default: 1)
        η, the server's learning rate.
    momentum : float (default: 0.9)
        β in [0, 1).
    buffers : frozenset[str] (default: frozenset())
        The names of BatchNorm's running statistics.

    Source: Hsu, Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution for
    Federated Visual Classification", 2019.
    """

    def __init__(
        self, lr: float = 1.0, momentum: float = 0.9, buffers: frozenset[str] = frozenset()
    ):
        super().__init__(buffers)
        self.lr, self.momentum = lr, momentum

    def step(self, name: str, update: Tensor) -> Tensor:
        """Return η·v."""
        velocity = self.momentum * self.kept("momentum", name, update) + update
        return self.lr * self.keep("momentum", name, velocity)

    def __repr__(self) -> str:
        return f"FedAvgM: lr {self.lr}, momentum {self.momentum}"


class FedAvgMConfig(StrategyConfig):
    """FedAvg with momentum on the server: where rounds pull this way and that."""

    name: Literal["fedavgm"] = "fedavgm"
    """The strategy."""
    lr: Number = Field(1.0, gt=0)
    """η, the server's learning rate."""
    momentum: Number = Field(0.9, ge=0, lt=1)
    """β: how much of the last round's step goes on."""

    def build(self, parts: ModelParts) -> Strategy:
        """Return the strategy."""
        return FedAvgM(self.lr, self.momentum, parts.buffers)
