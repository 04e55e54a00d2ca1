"""Trimmed mean: each weight is the mean of the clients' without the extreme ones."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from strategies.base import FoldingStrategy
from strategies.collected import Collected, coordinatewise
from strategies.config import StrategyConfig
from strategies.fold import Fold


def trimmed_mean(values: Tensor, share: float) -> Tensor:
    """Return the mean over the first dimension without the ``share`` largest and smallest.

    Parameters
    ----------
    values : Tensor
        [K, n].
    share : float
        In [0, 0.5); ⌊share·K⌋ values are left out at either end.

    Examples
    --------
    >>> import torch
    >>> trimmed_mean(torch.tensor([[1.0], [2.0], [3.0], [4.0], [100.0]]), share=0.2)
    tensor([3.])
    """
    cut = int(share * len(values))
    return values.sort(dim=0).values[cut : len(values) - cut].mean(dim=0)


class _TrimmedMean(Collected):
    def __init__(self, global_state: Mapping[str, Tensor], share: float):
        super().__init__(global_state)
        self._share = share

    def merge(self) -> dict[str, Tensor]:
        return coordinatewise(self.states, lambda values: trimmed_mean(values, self._share))


class TrimmedMean(FoldingStrategy):
    """The mean without the extreme values: where a known share of clients may send anything.

    g'[i] is the mean of w[k, i] without the ⌊βK⌋ largest and smallest, of BatchNorm's statistics
    too; counters take the maximum.

    For when a share of up to β of the clients may send anything. It uses more of the honest clients
    than the median does. It keeps all models of a round in memory, and no client's number of
    examples counts.

    Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
    ICML 2018, definition 2.

    Examples
    --------
    >>> import torch
    >>> from strategies.fold import UpdateSummary, merge
    >>> sent, *clients = ({"w": torch.tensor([value])} for value in (0.0, 1.0, 2.0, 3.0, 100.0))
    >>> fold = TrimmedMean(TrimmedMean.Config(beta=0.25)).start_fold(1, sent)
    >>> merge(fold, clients, [UpdateSummary(examples=1)] * 4)
    {'w': tensor([2.5000])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of TrimmedMean."""

        name: Literal["trimmed-mean"] = "trimmed-mean"
        """The name of this strategy."""
        beta: Number = Field(0.2, ge=0, lt=0.5)
        """The share of the clients that is left out at either end."""

    config: Config

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a fold that keeps all models."""
        return _TrimmedMean(global_state, self.config.beta)

    def __repr__(self) -> str:
        return f"TrimmedMean: beta {self.config.beta}"
