"""MultiKrum: the mean of the client models that lie closest to their neighbours."""

from collections.abc import Mapping
from typing import Literal

from flwr.serverapp.strategy import Strategy
from pydantic import Field, PositiveInt
from torch import Tensor

from fedssl.state import ModelParts
from strategies.base import FoldingStrategy
from strategies.config import StrategyConfig
from strategies.fold import Fold
from strategies.krum import KrumFold, minimum_clients


class MultiKrum(FoldingStrategy):
    """Average the clients that lie closest to their neighbours, all alike.

    g' = 1/m · Σ w[k] over the m clients of the least scores, which are Krum's: see `Krum`.

    For when up to f of at least 2f + 3 clients may send anything: between Krum, which keeps one
    client, and a plain mean. It keeps all models of a round in memory. Flower's own weighs the
    selected by their numbers of examples, which an attacker can make up.

    Parameters
    ----------
    byzantine : int (default: 1)
        f: how many clients may send anything.
    selected : int | None (default: None)
        m: how many are averaged; None for K − f of the K that answered.
    buffers : frozenset[str] (default: frozenset())
        The names of BatchNorm's running statistics.

    Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient
    Descent", NeurIPS 2017 (Multi-Krum).
    """

    def __init__(
        self,
        byzantine: int = 1,
        selected: int | None = None,
        buffers: frozenset[str] = frozenset(),
    ):
        super().__init__()
        self.byzantine = byzantine
        self.selected = selected
        self.buffers = buffers
        self.minimum_clients = max(minimum_clients(byzantine), selected or 1)

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a fold that keeps all models."""
        return KrumFold(global_state, self.buffers, self.byzantine, self.selected)

    def __repr__(self) -> str:
        return f"MultiKrum: {self.selected or 'K - f'} of up to {self.byzantine} byzantine clients"


class MultiKrumConfig(StrategyConfig):
    """The mean of those closest to their neighbours: attackers, and honest clients that differ."""

    name: Literal["multikrum"] = "multikrum"
    """The strategy."""
    byzantine: int = Field(1, ge=0)
    """f: how many clients may send anything; 2f + 3 must answer."""
    selected: PositiveInt | None = None
    """m: how many are averaged; null for all but f."""

    def build(self, parts: ModelParts) -> Strategy:
        """Return the strategy."""
        return MultiKrum(self.byzantine, self.selected, parts.buffers)
