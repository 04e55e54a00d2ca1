"""FedExP: a longer server step where clients' updates disagree."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from strategies.base import FoldingStrategy
from strategies.config import StrategyConfig
from strategies.fold import ExampleMean, Fold, UpdateSummary, parameter_names, squared_norm


def step_size(mean_square: float, square_of_mean: float, clients: int, epsilon: float) -> float:
    """Return η = max(1, Σ_k p[k]‖Δ[k]‖² / (2(‖Δ̄‖² + M·ε))).

    Parameters
    ----------
    mean_square : float
        Σ_k p[k]‖Δ[k]‖², with p[k] the share of all examples.
    square_of_mean : float
        ‖Δ̄‖² of Δ̄ = Σ_k p[k]·Δ[k].
    clients : int
        M.
    epsilon : float
        ε ≥ 0.

    Examples
    --------
    >>> step_size(mean_square=8.0, square_of_mean=1.0, clients=4, epsilon=0.0)
    4.0
    """
    denominator = 2 * (square_of_mean + clients * epsilon)
    return max(1.0, mean_square / denominator) if denominator else 1.0


class _Extrapolated:
    """The mean by examples, then a longer step of the parameters."""

    def __init__(self, global_state: Mapping[str, Tensor], buffers: frozenset[str], epsilon: float):
        self._global = global_state
        self._names = parameter_names(global_state, buffers)
        self._epsilon = epsilon
        self._mean = ExampleMean(global_state)
        self._squares = 0.0
        self._examples = 0
        self._clients = 0

    @torch.no_grad()
    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        self._mean.add(state, summary)
        moved = sum(squared_norm(state[n] - self._global[n].to(state[n])) for n in self._names)
        self._squares += summary.examples * moved
        self._examples += summary.examples
        self._clients += 1

    @torch.no_grad()
    def result(self) -> dict[str, Tensor]:
        merged = self._mean.result()
        moved = sum(squared_norm(merged[name] - self._global[name]) for name in self._names)
        eta = step_size(self._squares / self._examples, moved, self._clients, self._epsilon)
        for name in self._names:
            torch.lerp(self._global[name], merged[name], eta, out=merged[name])
        return merged


class FedExP(FoldingStrategy):
    """A longer step where clients disagree, no rate to tune: where FedAvg moves too slowly.

    g' = g + η·Δ̄ over the parameters, with Δ̄ the mean of the updates by examples, and η as
    `step_size` says: 1 where clients agree, more the more their updates cancel out. BatchNorm's
    statistics are averaged by examples, since a longer step could make a variance negative.

    For when the mean of very different clients moves too little from round to round. The model
    swings more between rounds: the paper evaluates the mean of the last two.

    Source: Jhunjhunwala, Wang and Joshi, "FedExP: Speeding Up Federated Averaging via
    Extrapolation", ICLR 2023; its code puts M beside ε.

    Examples
    --------
    >>> from strategies.fold import merge
    >>> sent, first, second = ({"w": torch.tensor([value])} for value in (0.0, -1.0, 3.0))
    >>> fold = FedExP(FedExP.Config(epsilon=0.0)).start_fold(1, sent)
    >>> merge(fold, [first, second], [UpdateSummary(examples=1)] * 2)  # the mean, 1, times η
    {'w': tensor([2.5000])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedExP."""

        name: Literal["fedexp"] = "fedexp"
        """The name of this strategy."""
        epsilon: Number = Field(1e-3, ge=0)
        """ε: the larger, the more cautious."""

    config: Config

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a mean that is extrapolated in the end."""
        return _Extrapolated(global_state, self.parts.buffers, self.config.epsilon)

    def __repr__(self) -> str:
        return f"FedExP: epsilon {self.config.epsilon}"
