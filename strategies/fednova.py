"""FedNova: clients' updates are divided by their numbers of local steps."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from fedssl.model_state import State
from strategies.base import FoldingStrategy
from strategies.config import StrategyConfig
from strategies.fold import (
    ExampleMean,
    Fold,
    UpdateSummary,
    WeightedMean,
    named,
    number,
    parameter_names,
    part_of,
)
from strategies.messages import STEPS


class _Normalised:
    """A mean weighed by p[k]/τ[k], from which g is left by as much as by the mean by examples."""

    def __init__(self, global_state: Mapping[str, Tensor], buffers: frozenset[str]):
        self._global = global_state
        self._names = dict.fromkeys(parameter_names(global_state, buffers))
        rest = {name: t for name, t in global_state.items() if name not in self._names}
        self._mean = WeightedMean({name: global_state[name] for name in self._names})
        self._rest = ExampleMean(rest)
        self._examples = 0
        self._steps = 0.0

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        steps = summary.number(STEPS)
        if not steps > 0:
            raise ValueError(f"its metric {STEPS} is {steps}: it must be positive")
        self._rest.add({n: t for n, t in state.items() if n not in self._names}, summary)
        parameters_of_client = {n: state[n] for n in self._names}
        self._mean.add(parameters_of_client, summary.examples / steps)
        self._examples += summary.examples
        self._steps += summary.examples * steps

    def sums(self) -> State:
        return {
            **named("mean", self._mean.sums()),
            **named("rest", self._rest.sums()),
            "examples": number(self._examples),
            "steps": number(self._steps),
        }

    def take_sums(self, total: Mapping[str, Tensor]) -> None:
        self._mean.take_sums(part_of("mean", total))
        self._rest.take_sums(part_of("rest", total))
        self._examples, self._steps = round(total["examples"].item()), total["steps"].item()

    @torch.no_grad()
    def result(self) -> dict[str, Tensor]:
        merged = self._mean.result() | self._rest.result()
        weight = self._mean.weight or 0.0
        # τ_eff·Σ p[k]/τ[k], by which the weighted mean's step is longer than it would be by itself.
        scale = (self._steps / self._examples) * (weight / self._examples)
        for name in self._names:
            torch.lerp(self._global[name], merged[name], scale, out=merged[name])
        return {name: merged[name] for name in self._global}


class FedNova(FoldingStrategy):
    """Updates count per local step: clients of very different size that train for epochs.

    Average clients' updates per local step, so that those who take more do not pull harder:
    g' = g + τ_eff·Σ_k p[k]·(w[k] − g)/τ[k] over the parameters, with p the shares of examples,
    τ[k] client k's local steps, and τ_eff = Σ_k p[k]·τ[k]. BatchNorm's statistics are averaged by
    examples. Where all take equally many steps it is FedAvg.

    For clients of very different size that each train for whole epochs: by examples alone a large
    client counts twice, by its weight and by its many steps. With client.momentum a step counts
    more the later it comes; that is left out of account here.

    Source: Wang et al., "Tackling the Objective Inconsistency Problem in Heterogeneous Federated
    Optimization", NeurIPS 2020, with ‖a‖₁ = τ (plain SGD).

    Examples
    --------
    >>> from strategies.fold import merge
    >>> sent, first, second = ({"w": torch.tensor([value])} for value in (0.0, 2.0, 4.0))
    >>> summaries = [UpdateSummary(examples=1, metrics={STEPS: steps}) for steps in (1, 4)]
    >>> merge(FedNova().start_fold(1, sent), [first, second], summaries)  # 2.5 · (2/1 + 4/4)/2
    {'w': tensor([3.7500])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedNova."""

        name: Literal["fednova"] = "fednova"
        """The name of this strategy."""

    config: Config

    required_metrics = frozenset({STEPS})

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a mean per step."""
        return _Normalised(global_state, self.parts.buffers)

    def __repr__(self) -> str:
        return "FedNova: the mean by examples, per local step"
