"""Bulyan: a trimmed mean of those that Krum picks, one after the other."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.model_state import TensorRoles
from strategies.base import NO_PARTS, FoldingStrategy
from strategies.collected import Collected, coordinatewise, products
from strategies.config import StrategyConfig
from strategies.fold import Fold, parameter_names
from strategies.krum import ranking
from strategies.median import median


def pick(inner: Tensor, byzantine: int, count: int) -> list[int]:
    """Pick clients by Krum, one after the other, each among those left.

    Parameters
    ----------
    inner : Tensor
        float64 [K, K]: the inner products of the clients' updates.
    byzantine : int
        f: how many clients may send anything.
    count : int
        How many to pick.
    """
    remaining, picked = list(range(len(inner))), []
    for _ in range(count):
        index = torch.tensor(remaining)
        best = remaining[ranking(inner[index][:, index], byzantine)[0]]
        picked.append(best)
        remaining.remove(best)
    return picked


def mean_around_median(values: Tensor, count: int) -> Tensor:
    """Return the mean of the ``count`` values nearest to the median, [K, n] to [n].

    Examples
    --------
    >>> mean_around_median(torch.tensor([[1.0], [2.0], [3.0], [100.0], [200.0]]), count=3)
    tensor([2.])
    """
    ordered = values.sort(dim=0).values
    # A stable sort of sorted values: of two equally near the smaller, whatever the clients' order.
    nearest = (ordered - median(values)).abs().sort(dim=0, stable=True).indices[:count]
    return ordered.gather(0, nearest).mean(dim=0)


class _Bulyan(Collected):
    def __init__(self, global_state: Mapping[str, Tensor], buffers: frozenset[str], byzantine: int):
        super().__init__(global_state, minimum_clients(byzantine))
        self._names = parameter_names(global_state, buffers)
        self._byzantine = byzantine

    def merge(self) -> dict[str, Tensor]:
        inner = products(self.states, self.global_state, self._names)
        chosen = len(self.states) - 2 * self._byzantine
        picked = [self.states[k] for k in pick(inner, self._byzantine, chosen)]
        averaged = chosen - 2 * self._byzantine
        return coordinatewise(picked, lambda values: mean_around_median(values, averaged))


def minimum_clients(byzantine: int) -> int:
    """Return how many clients must answer for Bulyan's guarantee: 4f + 3, or any where f is 0."""
    return 4 * byzantine + 3 if byzantine else 1


class Bulyan(FoldingStrategy):
    """Krum's picks, then a mean around their median: attackers who know the rule.

    Krum picks one client after the other, until θ = K − 2f are picked; g'[i] is the mean of the
    θ − 2f of their values that are nearest to their median. Counters take the maximum of the
    picked. Distances are over the parameters alone: see `Krum`.

    For when up to f of at least 4f + 3 clients are attackers who know the rule: it withstands a
    change of a few coordinates, which Krum's distances do not see. It keeps all models of a round
    in memory. Flower's own ranks the clients only once, not again after each pick, and
    keeps the old model if too few reply; here the round fails.

    Source: El Mhamdi, Guerraoui and Rouault, "The Hidden Vulnerability of Distributed Learning in
    Byzantium", ICML 2018.

    Examples
    --------
    >>> from strategies.fold import UpdateSummary, merge
    >>> values = (0.0, 1.0, 2.0, 3.5, 4.5, 6.5, 8.0, 99.0)
    >>> sent, *clients = ({"w": torch.tensor([value])} for value in values)
    >>> fold = Bulyan(Bulyan.Config(byzantine=1)).start_fold(1, sent)
    >>> merge(fold, clients, [UpdateSummary(examples=1)] * 7)
    {'w': tensor([4.8333])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of Bulyan."""

        name: Literal["bulyan"] = "bulyan"
        """The name of this strategy."""
        byzantine: int = Field(1, ge=0)
        """f: how many clients may send anything; 4f + 3 must answer."""

    config: Config

    def __init__(self, config: Config | None = None, parts: TensorRoles = NO_PARTS):
        super().__init__(config, parts)
        self.minimum_clients = minimum_clients(self.config.byzantine)

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a fold that keeps all models."""
        return _Bulyan(global_state, self.parts.buffers, self.config.byzantine)

    def __repr__(self) -> str:
        return f"Bulyan: up to {self.config.byzantine} byzantine clients"
