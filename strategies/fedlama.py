"""FedLAMA: layers on which clients agree are merged less often."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.model_state import TensorRoles
from strategies.base import NO_PARTS
from strategies.config import StrategyConfig
from strategies.fold import ExampleMean, Fold, UpdateSummary, parameter_names, squared_norm
from strategies.layer_schedule import Scheduled


def slow_layers(discrepancies: Sequence[float], sizes: Sequence[int]) -> list[int]:
    """Choose the layers that can be merged less often.

    In ascending order of their discrepancy by weight, layers are taken until their share of the
    model's discrepancy is larger than the share of its weights that is left.

    Parameters
    ----------
    discrepancies : Sequence[float]
        For each layer, Σ_k p[k]‖w̄ − w[k]‖² over the rounds since its last merge.
    sizes : Sequence[int]
        The number of weights of each layer.

    Source: Lee, Zhang and Avestimehr, "Layer-wise Adaptive Model Aggregation for Scalable Federated
    Learning", AAAI 2023, algorithm 2; the layer at which the shares cross is taken, too, as in its
    code.

    Examples
    --------
    >>> slow_layers(discrepancies=[100.0, 1.0, 50.0], sizes=[10, 10, 10])
    [1, 2]
    """
    total, weights = sum(discrepancies), sum(sizes)
    if total == 0:
        return []
    order = sorted(range(len(sizes)), key=lambda layer: discrepancies[layer] / sizes[layer])
    slow: list[int] = []
    share_of_discrepancy = share_of_weights = 0.0
    for layer in order:
        share_of_discrepancy += discrepancies[layer] / total
        share_of_weights += sizes[layer] / weights
        slow.append(layer)
        if 1 - share_of_weights < share_of_discrepancy:
            break
    return slow


class _Measured:
    """The mean by examples, which also measures how far clients are from it, by tensor."""

    def __init__(self, strategy: "FedLAMA", global_state: Mapping[str, Tensor]):
        self._strategy = strategy
        self._global = global_state
        self._mean = ExampleMean(global_state)
        weights = parameter_names(global_state, strategy.parts.buffers)
        self._squares = {name: 0.0 for name in weights if global_state[name].dim() >= 2}
        self._examples = 0

    @torch.no_grad()
    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        self._mean.add(state, summary)
        self._examples += summary.examples
        for name in self._squares:
            update = state[name] - self._global[name].to(state[name])
            self._squares[name] += summary.examples * squared_norm(update)

    @torch.no_grad()
    def result(self) -> dict[str, Tensor]:
        merged = self._mean.result()
        # Σp‖w − w̄‖² = Σp‖Δ‖² − ‖Δ̄‖², which needs no second look at the clients.
        spread = {}
        for name, squares in self._squares.items():
            common = squared_norm(merged[name] - self._global[name])
            spread[name] = max(0.0, squares / self._examples - common)
        self._strategy.adapt(spread, {name: merged[name].numel() for name in spread})
        return merged


class FedLAMA(Scheduled):
    """Layers on which clients agree are merged less often: where the way up is dear.

    The mean by examples. Every φ rounds all layers are merged; then those on which clients agree
    most (see `slow_layers`) are merged only every φ rounds, the others in each round, until the
    next time; with φ = 1 it is FedAvg. A layer is a weight of two dimensions or more; all else is
    small and merged in every round.

    For when the way up is dear: a factor of 2 to 4 saves about half of the bytes and more, at some
    loss of accuracy. It was made for clients that all take part in every round; with few of many,
    what absent ones learned in between is lost.

    Source: Lee, Zhang and Avestimehr, "Layer-wise Adaptive Model Aggregation for Scalable Federated
    Learning", AAAI 2023, algorithms 1 and 2, with a base interval of one round.

    Examples
    --------
    >>> strategy = FedLAMA(FedLAMA.Config(factor=4))
    >>> sizes = {"first": 10, "middle": 10, "last": 10}
    >>> strategy.adapt({"first": 1.0, "middle": 50.0, "last": 100.0}, sizes)
    >>> [(name, strategy.interval(name)) for name in sizes]
    [('first', 4), ('middle', 4), ('last', 1)]
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedLAMA."""

        name: Literal["fedlama"] = "fedlama"
        """The name of this strategy."""
        factor: int = Field(2, ge=1)
        """φ: how many times rarer those layers are merged."""

    config: Config

    def __init__(self, config: Config | None = None, parts: TensorRoles = NO_PARTS):
        super().__init__(config, parts)
        self.slow: frozenset[str] = frozenset()
        """The names of the tensors that are merged only every φ rounds."""

    def interval(self, name: str) -> int:
        """Return φ for slow tensors, else 1."""
        return self.config.factor if name in self.slow else 1

    def adapt(self, spread: Mapping[str, float], sizes: Mapping[str, int]) -> None:
        """Choose the slow tensors, given Σ_k p[k]‖w̄ − w[k]‖² of each weight and its size."""
        each = [value / self.interval(name) for name, value in spread.items()]
        names = list(spread)
        self.slow = frozenset(names[i] for i in slow_layers(each, [sizes[n] for n in names]))

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a mean by examples, which in every φ-th round also chooses the slow tensors."""
        if server_round % self.config.factor:
            return ExampleMean(global_state)
        return _Measured(self, global_state)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the names of the slow tensors, each with its interval."""
        return {name: torch.tensor(self.config.factor) for name in sorted(self.slow)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a state that ``state_dict`` returned."""
        self.slow = frozenset(state)

    def __repr__(self) -> str:
        return f"FedLAMA: factor {self.config.factor}"
