"""MultiKrum: the mean of the client models that lie closest to their neighbours."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor

from fedssl.model_state import TensorRoles
from strategies.base import NO_PARTS, FoldingStrategy
from strategies.config import StrategyConfig
from strategies.fold import Fold
from strategies.krum import KrumFold, minimum_clients


class MultiKrum(FoldingStrategy):
    """The mean of those closest to their neighbours: attackers, and honest clients that differ.

    g' = 1/m · Σ w[k] over the m clients of the least scores, which are Krum's: see `Krum`.

    For when up to f of at least 2f + 3 clients may send anything: between Krum, which keeps one
    client, and a plain mean. It keeps all models of a round in memory. Flower's own weighs the
    selected by their numbers of examples, which an attacker can make up.

    Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient
    Descent", NeurIPS 2017 (Multi-Krum).

    Examples
    --------
    >>> import torch
    >>> from strategies.fold import UpdateSummary, merge
    >>> sent, *clients = ({"w": torch.tensor([value])} for value in (0.0, 1.0, 1.1, 1.2, 1.7, 9.0))
    >>> fold = MultiKrum(MultiKrum.Config(byzantine=1, selected=3)).start_fold(1, sent)
    >>> merge(fold, clients, [UpdateSummary(examples=1)] * 5)
    {'w': tensor([1.1000])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of MultiKrum."""

        name: Literal["multikrum"] = "multikrum"
        """The name of this strategy."""
        byzantine: int = Field(1, ge=0)
        """f: how many clients may send anything; 2f + 3 must answer."""
        selected: PositiveInt | None = None
        """m: how many are averaged; null for all but f."""

    config: Config

    def __init__(self, config: Config | None = None, parts: TensorRoles = NO_PARTS):
        super().__init__(config, parts)
        self.minimum_clients = max(
            minimum_clients(self.config.byzantine), self.config.selected or 1
        )

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a fold that keeps all models."""
        config = self.config
        return KrumFold(global_state, self.parts.buffers, config.byzantine, config.selected)

    def __repr__(self) -> str:
        selected = self.config.selected or "K - f"
        return f"MultiKrum: {selected} of up to {self.config.byzantine} byzantine clients"
