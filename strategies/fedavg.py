"""FedAvg: the mean of the client models, by their numbers of examples or of all alike."""

from collections.abc import Iterable, Mapping
from typing import Literal

from torch import Tensor

from fedssl.model_state import State
from strategies import fold
from strategies.base import FoldingStrategy
from strategies.config import StrategyConfig
from strategies.fold import ExampleMean, Fold, UpdateSummary, WeightedMean
from strategies.ldawa_options import Weighting


def merge(
    client_states: Iterable[Mapping[str, Tensor]], num_examples: Iterable[int]
) -> dict[str, Tensor]:
    """Average client models by their examples: g' = Σ_k n[k]·w[k] / Σ_k n[k].

    Integer counters take the maximum. Inputs are not modified, and share no memory with the
    result.

    Parameters
    ----------
    client_states : Iterable[Mapping[str, Tensor]]
        The models, with the same names and shapes; read one by one.
    num_examples : Iterable[int]
        How many examples each client trained on.

    Raises
    ------
    ValueError
        There is no client, the models differ in names or shapes, or no client has an example.

    References
    ----------
    McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
    AISTATS 2017, algorithm 1.

    Examples
    --------
    >>> import torch
    >>> clients = [{"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}]
    >>> merge(clients, [1, 3])
    {'w': tensor([3.])}
    """
    return fold.merge(ExampleMean(), client_states, map(UpdateSummary, num_examples))


class UniformMean:
    """The fold in which all clients count the same: g' = 1/K · Σ_k w[k].

    Parameters
    ----------
    like : Mapping[str, Tensor]
        A model whose names, shapes and element types each client's must have.
    """

    def __init__(self, like: Mapping[str, Tensor]):
        self._mean = WeightedMean(like)

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        """Add one client's model; a ValueError says that its tensors are not the expected ones."""
        self._mean.add(state, 1)

    def sums(self) -> State:
        """Return the sums after one client was added; see `summed.SummedFold`."""
        return self._mean.sums()

    def take_sums(self, total: Mapping[str, Tensor]) -> None:
        """Continue from the sum of all clients' `sums`."""
        self._mean.take_sums(total)

    def result(self) -> dict[str, Tensor]:
        """Return the mean; a ValueError says that no model was added."""
        return self._mean.result()


class MeanByExamples(FoldingStrategy):
    """A strategy whose server takes the mean by examples, whatever else it does."""

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a mean by examples."""
        return ExampleMean(global_state)


class FedAvg(MeanByExamples):
    """The mean by examples: the baseline that everyone knows.

    The clients' models are averaged by their numbers of examples. Unlike Flower's own FedAvg it
    merges replies as they arrive, on any device, keeps integer counters integer, and
    takes every node that the Grid lists.

    Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
    Data", AISTATS 2017.

    Examples
    --------
    >>> import torch
    >>> from strategies.fold import UpdateSummary, merge
    >>> sent, first, second = ({"w": torch.tensor([value])} for value in (0.0, 0.0, 4.0))
    >>> strategy = FedAvg(FedAvg.Config(weighting="uniform"))
    >>> merge(strategy.start_fold(1, sent), [first, second], map(UpdateSummary, [1, 3]))
    {'w': tensor([2.])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedAvg."""

        name: Literal["fedavg"] = "fedavg"
        """The name of this strategy."""
        weighting: Weighting = "examples"
        """Whether clients count by their examples, or the same (uniform). By examples every
        example counts the same, so that a few large clients may decide."""

    config: Config

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a mean."""
        if self.config.weighting == "uniform":
            return UniformMean(global_state)
        return super().start_fold(server_round, global_state)

    def __repr__(self) -> str:
        how = "over clients" if self.config.weighting == "uniform" else "by examples"
        return f"FedAvg: the mean {how}"
