"""Krum: the one client model that lies closest to its neighbours."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from fedssl.model_state import TensorRoles
from strategies.base import NO_PARTS, FoldingStrategy
from strategies.collected import Collected, products, squared_distances, weighted
from strategies.config import StrategyConfig
from strategies.fold import Fold, parameter_names


def ranking(inner: Tensor, byzantine: int) -> list[int]:
    """Rank clients by Krum's score, the best first.

    The score of a client is the sum of the squared distances to its K − f − 2 nearest (at least
    one). Of equal scores (the two nearest of three clients always have equal ones) the client
    nearest to all others comes first, then the one with the smaller update; so that the clients'
    order does not matter.

    Parameters
    ----------
    inner : Tensor
        float64 [K, K]: the inner products of the clients' updates.
    byzantine : int
        f: how many clients may send anything.

    Examples
    --------
    >>> import torch
    >>> updates = torch.tensor([[1.0], [1.1], [1.3], [1.7], [9.0]], dtype=torch.float64)
    >>> ranking(updates @ updates.T, byzantine=1)
    [1, 0, 2, 3, 4]
    """
    distances = squared_distances(inner).tolist()
    norms = inner.diagonal().tolist()
    nearest = max(1, len(distances) - byzantine - 2)

    def key(client: int) -> tuple[float, float, float]:
        others = sorted(d for other, d in enumerate(distances[client]) if other != client)
        return sum(others[:nearest]), sum(others), norms[client]

    return sorted(range(len(distances)), key=key)


class KrumFold(Collected):
    """The mean of the clients that Krum ranks first.

    Parameters
    ----------
    global_state : Mapping[str, Tensor]
        The model that was sent to the clients.
    buffers : frozenset[str]
        The names of BatchNorm's running statistics, which do not count in distances.
    byzantine : int
        How many clients may send anything.
    selected : int | None
        How many are averaged; None for all but ``byzantine``.
    """

    def __init__(
        self,
        global_state: Mapping[str, Tensor],
        buffers: frozenset[str],
        byzantine: int,
        selected: int | None,
    ):
        super().__init__(global_state, max(minimum_clients(byzantine), selected or 1))
        self._buffers = buffers
        self._byzantine = byzantine
        self._selected = selected

    def merge(self) -> dict[str, Tensor]:
        """Return the mean of the clients ranked first."""
        inner = products(
            self.states, self.global_state, parameter_names(self.global_state, self._buffers)
        )
        count = self._selected or len(self.states) - self._byzantine
        first = set(ranking(inner, self._byzantine)[:count])
        return weighted(self.states, [float(k in first) for k in range(len(self.states))])


def minimum_clients(byzantine: int) -> int:
    """Return how many clients must answer for Krum's guarantee: 2f + 3, or any where f is 0."""
    return 2 * byzantine + 3 if byzantine else 1


class Krum(FoldingStrategy):
    """The model closest to its neighbours: a few attackers among clients that are alike.

    g' = w[k*] with k* the least of Σ ‖w[k] − w[j]‖² over the K − f − 2 clients j nearest to k.
    Distances are over the parameters alone: with BatchNorm's counters in them, as in Flower's Krum,
    the number of a client's steps would decide.

    For when up to f of at least 2f + 3 clients may send anything, and the honest ones are alike. On
    very different clients it throws away all but one: see ``multikrum``. It keeps all models of a
    round in memory.

    Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient
    Descent", NeurIPS 2017.

    Examples
    --------
    >>> import torch
    >>> from strategies.fold import UpdateSummary, merge
    >>> sent, *clients = ({"w": torch.tensor([value])} for value in (0.0, 1.0, 1.1, 1.3, 1.7, 9.0))
    >>> fold = Krum(Krum.Config(byzantine=1)).start_fold(1, sent)
    >>> merge(fold, clients, [UpdateSummary(examples=1)] * 5)
    {'w': tensor([1.1000])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of Krum."""

        name: Literal["krum"] = "krum"
        """The name of this strategy."""
        byzantine: int = Field(1, ge=0)
        """f: how many clients may send anything; 2f + 3 must answer."""

    config: Config

    def __init__(self, config: Config | None = None, parts: TensorRoles = NO_PARTS):
        super().__init__(config, parts)
        self.minimum_clients = minimum_clients(self.config.byzantine)

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a fold that keeps all models."""
        return KrumFold(global_state, self.parts.buffers, self.config.byzantine, selected=1)

    def __repr__(self) -> str:
        return f"Krum: up to {self.config.byzantine} byzantine clients"
