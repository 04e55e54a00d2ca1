"""Median: each weight is the median of the clients'."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from strategies.base import FoldingStrategy
from strategies.collected import Collected, coordinatewise
from strategies.config import StrategyConfig
from strategies.fold import Fold


def median(values: Tensor) -> Tensor:
    """Return the median over the first dimension, [K, n] to [n]; of two middle values the mean.

    Examples
    --------
    >>> import torch
    >>> median(torch.tensor([[1.0], [2.0], [100.0]]))
    tensor([2.])
    """
    ordered, count = values.sort(dim=0).values, len(values)
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


class _Median(Collected):
    def merge(self) -> dict[str, Tensor]:
        return coordinatewise(self.states, median)


class Median(FoldingStrategy):
    """Coordinate by coordinate: where up to half of the clients may send anything.

    g'[i] = median_k w[k, i], of BatchNorm's statistics too; counters take the maximum.

    For when fewer than half of the clients may send anything at all, broken or meant to harm. On
    very different honest clients it drops what only a few of them know. It keeps all models of a
    round in memory, and no client's number of examples counts.

    Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
    ICML 2018, definition 1. Flower's FedMedian makes halves of integer counters.

    Examples
    --------
    >>> import torch
    >>> from strategies.fold import UpdateSummary, merge
    >>> sent, *clients = ({"w": torch.tensor([value])} for value in (0.0, 1.0, 2.0, 100.0))
    >>> merge(Median().start_fold(1, sent), clients, [UpdateSummary(examples=1)] * 3)
    {'w': tensor([2.])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of Median."""

        name: Literal["median"] = "median"
        """The name of this strategy."""

    config: Config

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a fold that keeps all models."""
        return _Median(global_state)

    def __repr__(self) -> str:
        return "Median: coordinate by coordinate"
