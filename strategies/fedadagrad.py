"""FedAdagrad: Adagrad on the server."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from strategies.server_optimizer import AdaptiveOptimizer


class FedAdagrad(AdaptiveOptimizer):
    """Adagrad on the server: rare features take larger steps, all take smaller ones in time.

    v ← v + Δ̄², and all else as in `AdaptiveOptimizer`.

    For when rare clients hold features that others lack: what seldom moves takes larger steps. As
    v only grows, it also is a learning rate that falls by itself; over many rounds it may come to
    a halt. η must be tuned; 0.01 is a start.

    Source: Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2 (FedAdagrad).

    Examples
    --------
    >>> import torch
    >>> strategy = FedAdagrad(FedAdagrad.Config(lr=1.0))
    >>> [round(strategy.step("w", torch.tensor(1.0)).item(), 2) for _ in range(4)]
    [1.0, 0.71, 0.58, 0.5]
    """

    class Config(AdaptiveOptimizer.Config):
        """The ``strategy`` section of FedAdagrad."""

        name: Literal["fedadagrad"] = "fedadagrad"
        """The name of this strategy."""
        beta_1: Number = Field(0.0, ge=0, lt=1)
        """How long updates are remembered."""

    config: Config

    def variance(self, before: Tensor, square: Tensor) -> Tensor:
        """Return the sum of all squares."""
        return before + square
