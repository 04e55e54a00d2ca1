"""FedYogi: Yogi on the server."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from strategies.server_optimizer import AdaptiveOptimizer


class FedYogi(AdaptiveOptimizer):
    """Yogi on the server: where FedAdam is unstable after a few rounds of large updates.

    Yogi is an Adam whose step sizes grow slowly:
    v ← v − (1 − β₂)·Δ̄²·sign(v − Δ̄²), and all else as in `AdaptiveOptimizer`.

    For when FedAdam is unstable: after a round of large updates Adam soon forgets them and takes
    large steps again, Yogi's v falls by no more than it would rise. η must be tuned; 0.01 is a
    start.

    Source: Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2 (FedYogi).

    Examples
    --------
    >>> import torch
    >>> update = torch.tensor([1.0, 100.0])
    >>> FedYogi(FedYogi.Config(lr=0.1)).step("w", update)  # each coordinate at its own pace
    tensor([0.0990, 0.1000])
    """

    class Config(AdaptiveOptimizer.Config):
        """The ``strategy`` section of FedYogi."""

        name: Literal["fedyogi"] = "fedyogi"
        """The name of this strategy."""
        beta_2: Number = Field(0.99, ge=0, lt=1)
        """How long their squares are remembered."""

    config: Config

    def variance(self, before: Tensor, square: Tensor) -> Tensor:
        """Move towards the square, by a step that does not depend on how far it is."""
        return before - (1 - self.config.beta_2) * square * (before - square).sign()
