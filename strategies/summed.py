"""Rounds that are sums: what one client adds, computed where the client is, and what becomes of it.

Who merges then needs no client's model, only the sum of what all of them add: what secure
aggregation and differential privacy stand on.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from fedssl.model_state import State
from strategies.base import FoldingStrategy
from strategies.fold import Fold, Report


@runtime_checkable
class SummedFold(Fold, Protocol):
    """A fold of which all that it gathers is a sum over the clients."""

    def sums(self) -> State:
        """Return what was gathered of one client, by name: floating tensors."""

    def take_sums(self, total: Mapping[str, Tensor]) -> None:
        """Take up the sum of what `sums` returned of each client, in place of adding them."""


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
    report: Report,
) -> State:
    """Return what a client adds to a round's sum.

    Parameters
    ----------
    strategy : FoldingStrategy
        Built on the client, of the same config; what it keeps on the server is not needed.
    server_round : int
        The round.
    global_state : Mapping[str, Tensor]
        Those of the tensors that the client received that it sends back.
    state : Mapping[str, Tensor]
        The same, trained.
    report : Report
        Of the update.

    Raises
    ------
    ValueError
        The strategy's round is no sum.

    Examples
    --------
    >>> mine = contribution(FedAvg(), 1, received, trained, Report(examples=120))
    """
    fold = _summed(strategy, server_round, global_state)
    fold.add(state, report)
    return fold.sums()


def finish(
    strategy: FoldingStrategy,
    server_round: int,
    global_state: Mapping[str, Tensor],
    total: Mapping[str, Tensor],
) -> State:
    """Return the merged model, given the sum of all clients' contributions.

    It is what the strategy's fold makes of the same clients, up to rounding; but counters are the
    rounded mean, since a largest one is no sum.
    """
    fold = _summed(strategy, server_round, global_state)
    fold.take_sums(total)
    return fold.result()


def add_up(contributions: Iterable[Mapping[str, Tensor]]) -> State:
    """Return the sum of contributions; a ValueError says that there are none, or of other names."""
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
        raise ValueError(f"a round of {type(strategy).__name__} is no sum of what clients add")
    return fold
