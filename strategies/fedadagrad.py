"""FedAdagrad: Adagrad on the server."""

from typing import Literal

from flwr.serverapp.strategy import Strategy
from pydantic import Field
from torch import Tensor

from fedssl.fields import Number
from fedssl.state import ModelParts
from strategies.config import StrategyConfig
from strategies.server_optimizer import AdaptiveOptimizer


class FedAdagrad(AdaptiveOptimizer):
    """Let the server step by Adagrad, whose steps become smaller and smaller.

    v ← v + Δ̄², and all else as in `AdaptiveOptimizer`.

    For when rare clients hold features that others lack: what seldom moves takes larger steps. As
    v only grows, it also is a learning rate that falls by itself; over many rounds it may come to
    a halt. η must be tuned; 0.01 is a start.

    Parameters
    ----------
    lr : float (default: 0.01)
        η, the server's learning rate.
    beta_1 : float (default: 0)
        How long updates are remembered, in [0, 1).
    tau : float (default: 0.001)
        τ > 0: the smaller, the more even the steps of different coordinates.
    buffers : frozenset[str] (default: frozenset())
        The names of BatchNorm's running statistics.

    Source: Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2 (FedAdagrad).
    """

    def __init__(
        self,
        lr: float = 0.01,
        beta_1: float = 0.0,
        tau: float = 1e-3,
        buffers: frozenset[str] = frozenset(),
    ):
        super().__init__(lr, beta_1, tau, buffers)

    def variance(self, before: Tensor, square: Tensor) -> Tensor:
        """Return the sum of all squares."""
        return before + square


class FedAdagradConfig(StrategyConfig):
    """Adagrad on the server: rare features take larger steps, all take smaller ones in time."""

    name: Literal["fedadagrad"] = "fedadagrad"
    """The strategy."""
    lr: Number = Field(0.01, gt=0)
    """η, the server's learning rate: about how far a weight moves in a round."""
    beta_1: Number = Field(0.0, ge=0, lt=1)
    """How long updates are remembered."""
    tau: Number = Field(1e-3, gt=0)
    """τ: the smaller, the more even the steps of different weights."""

    def build(self, parts: ModelParts) -> Strategy:
        """Return the strategy."""
        return FedAdagrad(self.lr, self.beta_1, self.tau, parts.buffers)
