"""Rounds that are sums: a client computes its contribution, and the server needs only their sum.

Such a round can use secure aggregation and differential privacy.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from fedssl.model_state import State
from strategies.base import FoldingStrategy
from strategies.fold import Fold, UpdateSummary


@runtime_checkable
class SummedFold(Fold, Protocol):
    """A fold whose whole state is a sum over the clients."""

    def sums(self) -> State:
        """Return the sums after one client was added: floating tensors by name."""

    def take_sums(self, total: Mapping[str, Tensor]) -> None:
        """Continue from the sum of all clients' `sums`, instead of adding their models."""


def is_sum(
    strategy: FoldingStrategy, server_round: int, global_state: Mapping[str, Tensor]
) -> bool:
    """Tell whether a strategy's round is a sum of what clients add."""
    return isinstance(strategy.start_fold(server_round, global_state), SummedFold)


def contribution(
    strategy: FoldingStrategy,
    server_round: int,
    global_state: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    summary: UpdateSummary,
) -> State:
    """Return a client's contribution to a round's sum.

    Parameters
    ----------
    strategy : FoldingStrategy
        The strategy, built on the client from the same config; the server's state is not needed.
    server_round : int
        The number of the round, from 1.
    global_state : Mapping[str, Tensor]
        The tensors that the client received and sends back, before training.
    state : Mapping[str, Tensor]
        The same tensors after training.
    summary : UpdateSummary
        The client's summary of its update.

    Raises
    ------
    ValueError
        The strategy's round is not a sum over clients.

    Examples
    --------
    >>> import torch
    >>> from strategies.fedavg import FedAvg
    >>> sent, first, second = ({"w": torch.tensor([value])} for value in (0.0, 1.0, 3.0))
    >>> one = contribution(FedAvg(), 1, sent, first, UpdateSummary(examples=100))
    >>> other = contribution(FedAvg(), 1, sent, second, UpdateSummary(examples=300))
    >>> finish(FedAvg(), 1, sent, add_up([one, other]))
    {'w': tensor([2.5000])}
    """
    fold = _summed(strategy, server_round, global_state)
    fold.add(state, summary)
    return fold.sums()


def finish(
    strategy: FoldingStrategy,
    server_round: int,
    global_state: Mapping[str, Tensor],
    total: Mapping[str, Tensor],
) -> State:
    """Return the merged model, given the sum of all clients' contributions.

    It equals the result of the strategy's fold up to rounding, except that counters are the
    rounded mean: a maximum is not a sum.
    """
    fold = _summed(strategy, server_round, global_state)
    fold.take_sums(total)
    return fold.result()


def add_up(contributions: Iterable[Mapping[str, Tensor]]) -> State:
    """Return the sum of contributions; a ValueError if there are none or their names differ."""
    total: State = {}
    for each in contributions:
        if total and total.keys() != each.keys():
            raise ValueError("contributions of different names cannot be added up")
        for name, tensor in each.items():
            total[name] = total[name] + tensor if name in total else tensor
    if not total:
        raise ValueError("there are no contributions")
    return total


def _summed(
    strategy: FoldingStrategy, server_round: int, global_state: Mapping[str, Tensor]
) -> SummedFold:
    fold = strategy.start_fold(server_round, global_state)
    if not isinstance(fold, SummedFold):
        raise ValueError(f"a round of {type(strategy).__name__} is not a sum of what clients add")
    return fold
