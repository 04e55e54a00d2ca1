"""FedLWS: the merged layers shrink, the more so the more clients disagree."""

import math
from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fedssl.base.fields import Number
from strategies.base import FoldingStrategy
from strategies.collected import Collected, columns, weighted
from strategies.config import StrategyConfig
from strategies.fold import Fold, check_examples, parameter_names, squared_norm


def shrinking(
    before: Tensor, mean: Tensor, spread: float, beta: float, least: float, most: float
) -> float:
    """Return γ = ‖g‖ / (‖g‖ + τ·‖ḡ − g‖) with τ = β·spread, kept within [least, most].

    Parameters
    ----------
    before : Tensor
        The global tensor g that was sent out.
    mean : Tensor
        The clients' mean ḡ.
    spread : float
        mean_k ‖Δ[k] − Δ̄‖: how far the clients' updates lie from their plain mean.
    beta, least, most : float
        β ≥ 0, and the bounds of τ.

    Returns
    -------
    float
        In (0, 1]; 1 where g is zero, such as a new bias, which could never grow otherwise.
    """
    norm = math.sqrt(squared_norm(before))
    moved = math.sqrt(squared_norm(mean - before))
    return norm / (norm + min(max(beta * spread, least), most) * moved) if norm else 1.0


class _Shrunk(Collected):
    def __init__(
        self,
        global_state: Mapping[str, Tensor],
        buffers: frozenset[str],
        bounds: tuple[float, float, float],
    ):
        super().__init__(global_state)
        self._names = parameter_names(global_state, buffers)
        self._bounds = bounds

    def merge(self) -> dict[str, Tensor]:
        merged = weighted(self.states, [check_examples(summary) for summary in self.summaries])
        for name in self._names:
            gamma = shrinking(
                self.global_state[name], merged[name], self._spread(name), *self._bounds
            )
            merged[name].mul_(gamma)
        return merged

    def _spread(self, name: str) -> float:
        squares = torch.zeros(len(self.states), dtype=torch.float64)
        for values in columns(self.states, name):
            squares += (values - values.mean(dim=0)).double().square().sum(dim=1).cpu()
        return float(squares.sqrt().mean())


class FedLWS(FoldingStrategy):
    """Layers shrink where clients disagree: a server's weight decay that sets itself.

    g'[l] = γ[l]·ḡ[l] with ḡ the mean by examples and γ as `shrinking` says, for every parameter
    tensor l; BatchNorm's statistics are averaged by examples and not shrunk.

    For when the global model's weights grow too large, as if weight decay were missing, on
    clients that differ. On weights before a BatchNorm shrinking does not change what is computed,
    but raises the effective learning rate: compare with ``const-shrink``. It keeps all models of
    a round in memory.

    Source: Shi et al., "FedLWS: Federated Learning with Adaptive Layer-wise Weight Shrinking",
    ICLR 2025. There a layer is a weight with its bias; here it is each tensor.

    Examples
    --------
    >>> from strategies.fold import UpdateSummary, merge
    >>> sent, first, second = ({"w": torch.tensor([value])} for value in (1.0, 1.0, 3.0))
    >>> fold = FedLWS(FedLWS.Config(beta=0.1)).start_fold(1, sent)
    >>> merge(fold, [first, second], [UpdateSummary(examples=1)] * 2)  # the mean, 2, shrunk by 1.1
    {'w': tensor([1.8182])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedLWS."""

        name: Literal["fedlws"] = "fedlws"
        """The name of this strategy."""
        beta: Number = Field(0.03, ge=0)
        """β: how much clients' disagreement counts."""
        least: Number = Field(0.01, ge=0)
        """The least τ, the strength of the shrinking."""
        most: Number = Field(0.2, ge=0)
        """The largest τ."""

        @model_validator(mode="after")
        def _bounds(self) -> Self:
            if self.least > self.most:
                raise ValueError(f"least = {self.least}: must not be above most = {self.most}")
            return self

    config: Config

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a fold that keeps all models."""
        config = self.config
        bounds = (config.beta, config.least, config.most)
        return _Shrunk(global_state, self.parts.buffers, bounds)

    def __repr__(self) -> str:
        return f"FedLWS: beta {self.config.beta}, tau in [{self.config.least}, {self.config.most}]"
