"""FedAdam: Adam on the server."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from strategies.server_optimizer import AdaptiveOptimizer


class FedAdam(AdaptiveOptimizer):
    """Adam on the server: where the updates of different layers differ in size by much.

    v ← β₂·v + (1 − β₂)·Δ̄², and all else as in `AdaptiveOptimizer`.

    For when layers' updates differ in size by orders of magnitude, as with rare features or deep
    networks: every coordinate moves at its own pace. η must be tuned; 0.01 is a start.

    Source: Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2 (FedAdam).

    Examples
    --------
    >>> import torch
    >>> strategy = FedAdam(FedAdam.Config(lr=0.1))
    >>> strategy.step("w", torch.tensor([1.0, 100.0]))  # each coordinate at its own pace
    tensor([0.0990, 0.1000])
    """

    class Config(AdaptiveOptimizer.Config):
        """The ``strategy`` section of FedAdam."""

        name: Literal["fedadam"] = "fedadam"
        """The name of this strategy."""
        beta_2: Number = Field(0.99, ge=0, lt=1)
        """How long their squares are remembered."""

    config: Config

    def variance(self, before: Tensor, square: Tensor) -> Tensor:
        """Return a moving average."""
        return self.config.beta_2 * before + (1 - self.config.beta_2) * square
