"""FedAdam: Adam on the server."""

from typing import Literal

from flwr.serverapp.strategy import Strategy
from pydantic import Field
from torch import Tensor

from fedssl.fields import Number
from fedssl.state import ModelParts
from strategies.config import StrategyConfig
from strategies.server_optimizer import AdaptiveOptimizer


class FedAdam(AdaptiveOptimizer):
    """Let the server step by Adam.

    v ← β₂·v + (1 − β₂)·Δ̄², and all else as in `AdaptiveOptimizer`.

    For when layers' updates differ in size by orders of magnitude, as with rare features or deep
    networks: every coordinate moves at its own pace. η must be tuned; 0.01 is a start.

    Parameters
    ----------
    lr : float (default: 0.01)
        η, the server's learning rate.
    beta_1, beta_2 : float (defaults: 0.9, 0.99)
        How long updates, and their squares, are remembered, in [0, 1).
    tau : float (default: 0.001)
        τ > 0: the smaller, the more even the steps of different coordinates.
    buffers : frozenset[str] (default: frozenset())
        The names of BatchNorm's running statistics.

    Source: Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2 (FedAdam).
    """

    def __init__(
        self,
        lr: float = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        tau: float = 1e-3,
        buffers: frozenset[str] = frozenset(),
    ):
        super().__init__(lr, beta_1, tau, buffers)
        self.beta_2 = beta_2

    def variance(self, before: Tensor, square: Tensor) -> Tensor:
        """Return a moving average."""
        return self.beta_2 * before + (1 - self.beta_2) * square


class FedAdamConfig(StrategyConfig):
    """Adam on the server: where the updates of different layers differ in size by much."""

    name: Literal["fedadam"] = "fedadam"
    """The strategy."""
    lr: Number = Field(0.01, gt=0)
    """η, the server's learning rate: about how far a weight moves in a round."""
    beta_1: Number = Field(0.9, ge=0, lt=1)
    """How long updates are remembered."""
    beta_2: Number = Field(0.99, ge=0, lt=1)
    """How long their squares are remembered."""
    tau: Number = Field(1e-3, gt=0)
    """τ: the smaller, the more even the steps of different weights."""

    def build(self, parts: ModelParts) -> Strategy:
        """Return the strategy."""
        return FedAdam(self.lr, self.beta_1, self.beta_2, self.tau, parts.buffers)
