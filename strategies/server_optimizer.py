"""Server optimisers: the clients' mean update is a gradient, by which the server steps."""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.model_state import State, TensorRoles
from strategies.base import NO_PARTS, FoldingStrategy
from strategies.config import StrategyConfig
from strategies.fold import ExampleMean, Fold, UpdateSummary, parameter_names


class ServerOptimizer(FoldingStrategy):
    """A strategy whose server steps from the global model along the mean update.

    Only parameters are stepped: g'[l] = g[l] + `step`(Δ̄[l]), with Δ̄ the mean by examples of the
    clients' updates w[k] − g. BatchNorm's statistics are averaged by examples, since a step beyond
    the clients could make a variance negative; counters take the maximum. The server's
    state, such as momentum, is part of a checkpoint.
    """

    def __init__(self, config: StrategyConfig | None = None, parts: TensorRoles = NO_PARTS):
        super().__init__(config, parts)
        self._kept: dict[str, Tensor] = {}

    @abstractmethod
    def step(self, name: str, update: Tensor) -> Tensor:
        """Return what is added to a parameter, given the clients' mean update of it."""

    def kept(self, what: str, name: str, update: Tensor, initial: float = 0.0) -> Tensor:
        """Return a kept tensor of a parameter; at first, ``initial`` everywhere."""
        tensor = self._kept.get(f"{what} {name}")
        return torch.full_like(update, initial) if tensor is None else tensor.to(update.device)

    def keep(self, what: str, name: str, value: Tensor) -> Tensor:
        """Keep a tensor for the next round, and return it."""
        self._kept[f"{what} {name}"] = value
        return value

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a mean by examples, from which the server steps in the end."""
        return _Stepped(self, global_state)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the kept tensors, by their kind and their parameter's name."""
        return dict(self._kept)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a state that ``state_dict`` returned."""
        self._kept = dict(state)


class _Stepped:
    def __init__(self, optimizer: ServerOptimizer, global_state: Mapping[str, Tensor]):
        self._optimizer = optimizer
        self._global = global_state
        self._mean = ExampleMean(global_state)

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        self._mean.add(state, summary)

    def sums(self) -> State:
        return self._mean.sums()

    def take_sums(self, total: Mapping[str, Tensor]) -> None:
        self._mean.take_sums(total)

    @torch.no_grad()
    def result(self) -> dict[str, Tensor]:
        merged = self._mean.result()
        for name in parameter_names(merged, self._optimizer.parts.buffers):
            before = self._global[name]
            torch.add(before, self._optimizer.step(name, merged[name] - before), out=merged[name])
        return merged


class AdaptiveOptimizer(ServerOptimizer):
    """A server optimiser with a step size for each coordinate.

    m ← β₁·m + (1 − β₁)·Δ̄;  v ← `variance`(v, Δ̄²);  g' = g + η·m / (√v + τ), where m begins at 0
    and v at τ². As published, and unlike Adam for single machines, there is no bias correction.

    Source: Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2.
    """

    class Config(StrategyConfig):
        """The fields of all server optimisers."""

        lr: Number = Field(0.01, gt=0)
        """η, the server's learning rate: about how far a weight moves in a round."""
        beta_1: Number = Field(0.9, ge=0, lt=1)
        """How long updates are remembered."""
        tau: Number = Field(1e-3, gt=0)
        """τ: the smaller, the more even the steps of different weights."""

    config: Config

    @abstractmethod
    def variance(self, before: Tensor, square: Tensor) -> Tensor:
        """Return the next v, given the last and Δ̄²; neither is ever negative."""

    def step(self, name: str, update: Tensor) -> Tensor:
        """Return η·m / (√v + τ)."""
        momentum = self.kept("momentum", name, update)
        momentum = self.keep("momentum", name, torch.lerp(update, momentum, self.config.beta_1))
        variance = self.kept("variance", name, update, initial=self.config.tau**2)
        variance = self.keep("variance", name, self.variance(variance, update.square()))
        return self.config.lr * momentum / (variance.sqrt() + self.config.tau)

    def __repr__(self) -> str:
        return f"{type(self).__name__}: lr {self.config.lr}, tau {self.config.tau}"
