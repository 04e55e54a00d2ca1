"""Strategies of a person's own."""

from collections.abc import Mapping

import torch
from torch import Tensor

from strategies import FedAvg
from strategies.fold import ExampleMean, Fold, UpdateSummary


class InPlace(FedAvg):
    """Writes to its momentum in place."""

    def __init__(self) -> None:
        super().__init__()
        self.momentum: dict[str, Tensor] = {}

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        return _InPlace(self.momentum, global_state)

    def state_dict(self) -> dict[str, Tensor]:
        return self.momentum

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.momentum = dict(state)


class _InPlace:
    def __init__(self, momentum: dict[str, Tensor], global_state: Mapping[str, Tensor]):
        self._momentum, self._global = momentum, global_state
        self._mean = ExampleMean(global_state)

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        self._mean.add(state, summary)

    @torch.no_grad()
    def result(self) -> dict[str, Tensor]:
        merged = self._mean.result()
        for name in (n for n in merged if n.endswith("weight")):
            update = merged[name] - self._global[name]
            kept = self._momentum.setdefault(name, torch.zeros_like(update))
            merged[name] = self._global[name] + kept.mul_(0.9).add_(update)
        return merged


class Infinite(FedAvg):
    """Merges to a model that is of no use."""

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        return _Infinite(global_state)


class _Infinite(ExampleMean):
    def result(self) -> dict[str, Tensor]:
        return {n: t * torch.inf if t.dim() > 1 else t for n, t in super().result().items()}
