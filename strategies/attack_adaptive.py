"""Attack-adaptive: clients count by the cosine of their update with a robust centre."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from strategies.base import FoldingStrategy
from strategies.collected import Collected, update_columns, weighted
from strategies.config import StrategyConfig
from strategies.fold import Fold, parameter_names
from strategies.median import median

LOOPS = 5
"""How often the centre is moved."""
SMALLEST = 0.01
"""Weights below this share of an equal one are dropped."""


def attention(
    states: Sequence[Mapping[str, Tensor]],
    global_state: Mapping[str, Tensor],
    names: Sequence[str],
    scale: float,
) -> Tensor:
    """Return each client's weight, float64 [K], which sum to 1.

    The centre q is the coordinate-wise median of the updates Δ[k] = w[k] − g at first. Then, five
    times, a[k] = softmax_k(s·cos(q, Δ[k])), those below a hundredth of 1/K become 0, and
    q = Σ_k a[k]·Δ[k].

    Parameters
    ----------
    states : Sequence[Mapping[str, Tensor]]
        The models w[k].
    global_state : Mapping[str, Tensor]
        The model g that was sent out.
    names : Sequence[str]
        The tensors that are compared.
    scale : float
        s > 0: the larger, the fewer clients count.
    """
    count = len(states)
    inner = torch.zeros(count, count, dtype=torch.float64)
    with_centre = torch.zeros(count, dtype=torch.float64)
    centre_square = torch.zeros((), dtype=torch.float64)
    for updates in update_columns(states, global_state, names):
        middle = median(updates)
        inner += (updates @ updates.T).cpu()
        with_centre += (updates @ middle).cpu()
        centre_square += (middle @ middle).cpu()
    weights = torch.full((count,), 1 / count, dtype=torch.float64)
    for _ in range(LOOPS):
        norms = (inner.diagonal() * centre_square).sqrt()
        # A zero update, or a zero centre, has no direction: its cosine is taken as 0.
        cosines = torch.where(norms > 0, with_centre / norms, 0.0)
        weights = torch.softmax(scale * cosines, dim=0)
        weights = torch.where(weights < SMALLEST / count, 0.0, weights)
        # The next centre is a sum of updates, so all its products are known.
        with_centre = inner @ weights
        centre_square = weights @ with_centre
    return weights / weights.sum()


class _Attention(Collected):
    def __init__(self, global_state: Mapping[str, Tensor], buffers: frozenset[str], scale: float):
        super().__init__(global_state)
        self._names = parameter_names(global_state, buffers)
        self._scale = scale

    def merge(self) -> dict[str, Tensor]:
        weights = attention(self.states, self.global_state, self._names, self._scale)
        return weighted(self.states, weights.tolist())


class AttackAdaptive(FoldingStrategy):
    """Clients weigh by their update's cosine with a robust centre: attackers of unknown number.

    g' = Σ_k a[k]·w[k], BatchNorm's statistics included, with a as `attention` finds it; counters
    take the maximum of the clients that count.

    For when attackers push the model in a direction of their own, and it is not known how many they
    are. Honest clients with rare examples look like attackers. It keeps all models of a round in
    memory, and no client's number of examples counts.

    Source: Wan and Chen, "Robust Federated Learning with Attack-Adaptive Aggregation", 2021. There
    the space in which directions are compared is learned from simulated attacks; here it is that
    of the weights, so nothing needs training.

    Examples
    --------
    >>> from strategies.fold import UpdateSummary, merge
    >>> sent, *clients = ({"w": torch.tensor([value])} for value in (0.0, 1.0, 2.0, -90.0))
    >>> fold = AttackAdaptive(AttackAdaptive.Config(scale=10.0)).start_fold(1, sent)
    >>> merge(fold, clients, [UpdateSummary(examples=1)] * 3)
    {'w': tensor([1.5000])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of AttackAdaptive."""

        name: Literal["attack-adaptive"] = "attack-adaptive"
        """The name of this strategy."""
        scale: Number = Field(10.0, gt=0)
        """The factor of the cosines: the larger, the fewer clients count."""

    config: Config

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a fold that keeps all models."""
        return _Attention(global_state, self.parts.buffers, self.config.scale)

    def __repr__(self) -> str:
        return f"AttackAdaptive: scale {self.config.scale}"
