"""Elastic: layers that clients' embeddings depend on move less, others more."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.sensitivity import OMEGA, Sensitivity
from strategies.base import FoldingStrategy
from strategies.config import StrategyConfig
from strategies.fold import ExampleMean, Fold, UpdateSummary, parameter_names

SENSITIVITY = f"sensitivity/{OMEGA}"


def elasticity(sensitivities: Sequence[float], shares: Sequence[float], tau: float) -> float:
    """Return ζ = 1 + τ − Σ_k p[k]·Ω[k] / max_k Ω[k] of a layer.

    Parameters
    ----------
    sensitivities : Sequence[float]
        Ω[k] ≥ 0 of each client.
    shares : Sequence[float]
        p[k], each client's share of all examples.
    tau : float
        τ.

    Returns
    -------
    float
        In [τ, 1 + τ]; 1 where no client's embedding depends on the layer, such as a predictor.

    Examples
    --------
    >>> elasticity(sensitivities=[1.0, 2.0], shares=[0.5, 0.5], tau=0.5)
    0.75
    """
    most = max(sensitivities)
    if most == 0:
        return 1.0
    return 1 + tau - sum(p * omega for p, omega in zip(shares, sensitivities, strict=True)) / most


class _Elastic:
    def __init__(self, global_state: Mapping[str, Tensor], buffers: frozenset[str], tau: float):
        self._global = global_state
        self._names = parameter_names(global_state, buffers)
        self._tau = tau
        self._mean = ExampleMean(global_state)
        self._examples: list[int] = []
        self._sensitivities: list[list[float]] = []

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        sensitivities = summary.numbers(SENSITIVITY, len(self._names))
        if not all(omega >= 0 for omega in sensitivities):
            raise ValueError(f"its metric {SENSITIVITY} has a number that is negative or NaN")
        self._mean.add(state, summary)
        self._examples.append(summary.examples)
        self._sensitivities.append(sensitivities)

    @torch.no_grad()
    def result(self) -> dict[str, Tensor]:
        merged = self._mean.result()
        shares = [examples / sum(self._examples) for examples in self._examples]
        for name, *omegas in zip(self._names, *self._sensitivities, strict=True):
            zeta = elasticity(omegas, shares, self._tau)
            torch.lerp(self._global[name], merged[name], zeta, out=merged[name])
        return merged


class Elastic(FoldingStrategy):
    """Layers that embeddings depend on move less: where clients would spoil what others need.

    Move the layers that clients' embeddings depend on less, and others more.

    g'[l] = g[l] + ζ[l]·Δ̄[l] for every parameter tensor l, with Δ̄ the mean of the updates by
    examples and ζ as `elasticity` says. A client's sensitivity Ω[l] is the norm of the gradient by
    w[l] of its projections' mean squared norm, before they are normalised: a moving average of
    decay μ over its steps, from the first one's on. BatchNorm's statistics are averaged by
    examples, since ζ may exceed 1.

    For when a few clients would spoil what others depend on. It needs no labels; it costs clients
    a second backward pass a step.

    Source: Chen et al., "Elastic Aggregation for Federated Optimization", CVPR 2023, there weight
    by weight, here layer by layer, so that a message grows by one number a layer.

    Examples
    --------
    >>> from strategies.fold import merge
    >>> sent, first, second = ({"w": torch.tensor([value])} for value in (0.0, 0.0, 2.0))
    >>> summaries = [UpdateSummary(1, metrics={SENSITIVITY: [omega]}) for omega in (1.0, 2.0)]
    >>> merge(Elastic().start_fold(1, sent), [first, second], summaries)  # ζ = 0.75
    {'w': tensor([0.7500])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of Elastic."""

        name: Literal["elastic"] = "elastic"
        """The name of this strategy."""
        tau: Number = Field(0.5, ge=0)
        """τ: a layer's step is multiplied by a number from τ to 1 + τ."""
        decay: Number = Field(0.95, ge=0, lt=1)
        """μ of the moving average of a client's sensitivity over its steps."""

    config: Config

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        """Return the rule."""
        return (Sensitivity.Config(decay=self.config.decay),)

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a mean by examples, from which layers are stretched in the end."""
        return _Elastic(global_state, self.parts.buffers, self.config.tau)

    def __repr__(self) -> str:
        return f"Elastic: tau {self.config.tau}"
