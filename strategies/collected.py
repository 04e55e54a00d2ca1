"""Folds that need all client models at once: they keep them until the round ends.

A cohort of K then costs the memory of K models: for robust aggregation, which has no other way.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from strategies.fold import UpdateSummary, WeightedMean, check_alike

_ELEMENTS = 1 << 22
"""How many elements of all clients together are worked on at a time."""


class Collected(ABC):
    """A fold that keeps what is added, by reference.

    Parameters
    ----------
    global_state : Mapping[str, Tensor]
        The model that was sent to the clients.
    minimum : int (default: 1)
        The smallest number of clients that the aggregation works with.
    """

    def __init__(self, global_state: Mapping[str, Tensor], minimum: int = 1):
        self.global_state = global_state
        self.states: list[Mapping[str, Tensor]] = []
        self.summaries: list[UpdateSummary] = []
        self._minimum = minimum

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        """Keep one client's model; a ValueError says that its tensors are not the global one's."""
        check_alike(self.global_state, state)
        self.states.append(state)
        self.summaries.append(summary)

    @torch.no_grad()
    def result(self) -> dict[str, Tensor]:
        """Return the merged model; a ValueError says that too few were added."""
        if len(self.states) < self._minimum:
            raise ValueError(
                f"{len(self.states)} client(s) answered, but the strategy needs at least "
                f"{self._minimum}: raise participation, or expect fewer attackers"
            )
        return self.merge()

    @abstractmethod
    def merge(self) -> dict[str, Tensor]:
        """Return the merged model of `states`."""


def weighted(states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """Return a weighted mean of models; those of weight 0 are left out, counters included."""
    mean = WeightedMean()
    for state, weight in zip(states, weights, strict=True):
        if weight:
            mean.add(state, weight)
    return mean.result()


def columns(states: Sequence[Mapping[str, Tensor]], name: str) -> Iterator[Tensor]:
    """Yield a tensor of all models side by side, a piece at a time: [K, n], float32 at least."""
    size = max(1, _ELEMENTS // len(states))
    dtype = torch.promote_types(states[0][name].dtype, torch.float32)
    device = states[0][name].device
    flat = [state[name].detach().reshape(-1) for state in states]
    for pieces in zip(*(torch.split(tensor, size) for tensor in flat), strict=True):
        yield torch.stack([piece.to(device, dtype) for piece in pieces])


def coordinatewise(
    states: Sequence[Mapping[str, Tensor]], combine: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Merge models coordinate by coordinate; integer counters take the maximum.

    Parameters
    ----------
    states : Sequence[Mapping[str, Tensor]]
        The models, with the same names and shapes.
    combine : Callable[[Tensor], Tensor]
        Maps the clients' values, [K, n], to the merged ones, [n].

    Examples
    --------
    >>> clients = [{"w": torch.tensor([value, 1.0])} for value in (0.0, 1.0, 9.0)]
    >>> coordinatewise(clients, lambda values: values.median(0).values)
    {'w': tensor([1., 1.])}
    """
    merged = {}
    for name, like in states[0].items():
        if like.is_floating_point():
            parts = [combine(piece) for piece in columns(states, name)]
            merged[name] = torch.cat(parts).to(like.dtype).reshape(like.shape)
        else:
            merged[name] = torch.stack([s[name].to(like.device) for s in states]).amax(0)
    return merged


def products(
    states: Sequence[Mapping[str, Tensor]], global_state: Mapping[str, Tensor], names: Sequence[str]
) -> Tensor:
    """Return the inner products of the clients' updates w[k] − g, over the tensors named.

    Returns
    -------
    Tensor
        float64 [K, K], symmetric to the bit.
    """
    total = torch.zeros(len(states), len(states), dtype=torch.float64)
    for updates in update_columns(states, global_state, names):
        total += (updates @ updates.T).cpu()
    return (total + total.T) / 2


def update_columns(
    states: Sequence[Mapping[str, Tensor]], global_state: Mapping[str, Tensor], names: Sequence[str]
) -> Iterator[Tensor]:
    """Yield the clients' updates w[k] − g side by side, a piece at a time: float64 [K, n]."""
    for name in names:
        pieces = columns([global_state, *states], name)
        for piece in pieces:
            # Subtracted in float32, as exact as the weights are, for they lie close together.
            yield (piece[1:] - piece[0]).double()


def squared_distances(inner: Tensor) -> Tensor:
    """Return ‖Δ[i] − Δ[j]‖², float64 [K, K], from the inner products of updates."""
    squares = inner.diagonal()
    return (squares[:, None] + squares[None, :] - 2 * inner).clamp(min=0)
