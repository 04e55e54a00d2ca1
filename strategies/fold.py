"""How client models become one: folded one by one, so that memory does not grow with the cohort."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor


class Fold(Protocol):
    """A merge under way."""

    def add(self, state: Mapping[str, Tensor], num_examples: int) -> None:
        """Take in one client's model, which is only read, and not kept."""

    def result(self) -> dict[str, Tensor]:
        """Return the merged model, which shares memory with nothing that was added; call it once.

        It may be the running sums themselves, divided in place.
        """


def merge(
    fold: Fold, client_states: Iterable[Mapping[str, Tensor]], num_examples: Iterable[int]
) -> dict[str, Tensor]:
    """Add every client's model to a fold, in the order given, and return its result.

    Raises
    ------
    ValueError
        There are fewer models than numbers of examples or the reverse, or the fold refuses.
    """
    for state, examples in zip(client_states, num_examples, strict=True):
        fold.add(state, examples)
    return fold.result()


def check_alike(reference: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Raise a ValueError that names the tensor in which two models differ in kind or shape."""
    if unshared := sorted(reference.keys() ^ state.keys()):
        name = unshared[0]
        what = "lacks" if name in reference else "has an unexpected"
        raise ValueError(f"the client's model {what} tensor {name}")
    for name, expected in reference.items():
        tensor = state[name]
        if tensor.shape != expected.shape:
            raise ValueError(
                f"tensor {name} has the shape {tuple(tensor.shape)} in place of "
                f"{tuple(expected.shape)}"
            )
        if tensor.is_floating_point() != expected.is_floating_point():
            raise ValueError(f"tensor {name} is {tensor.dtype} in place of {expected.dtype}")


@torch.no_grad()
def accumulate(sums: dict[str, Tensor], name: str, tensor: Tensor, weight: float) -> None:
    """Add ``weight · tensor`` to the running sum of that name, in float32 at least."""
    total = sums.get(name)
    if total is None:
        sums[name] = tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32)) * weight
    else:
        total.add_(tensor.to(total.device), alpha=weight)


class ExampleMean:
    """FedAvg's fold: floats are averaged by examples, integer counters take the maximum.

    Parameters
    ----------
    like : Mapping[str, Tensor] | None (default: None)
        A model whose names, shapes and element types each client's must have; None for those of
        the first client.
    """

    def __init__(self, like: Mapping[str, Tensor] | None = None):
        self._like = like
        self._sums: dict[str, Tensor] = {}
        self._counters: dict[str, Tensor] = {}
        self._examples: int | None = None

    def add(self, state: Mapping[str, Tensor], num_examples: int) -> None:
        """Add one client's model.

        Raises
        ------
        ValueError
            ``num_examples`` is negative, or the model has other tensors than it should.
        """
        if num_examples < 0:
            raise ValueError(f"num_examples = {num_examples}: it must not be negative")
        if self._like is None:
            # On the meta device a tensor is its shape and type alone, and holds no memory.
            self._like = {n: torch.empty_like(t, device="meta") for n, t in state.items()}
        check_alike(self._like, state)
        for name, tensor in state.items():
            if tensor.is_floating_point():
                accumulate(self._sums, name, tensor, num_examples)
            elif name in self._counters:
                known = self._counters[name]
                self._counters[name] = torch.maximum(known, tensor.detach().to(known.device))
            else:
                self._counters[name] = tensor.detach().clone()
        self._examples = (self._examples or 0) + num_examples

    def result(self) -> dict[str, Tensor]:
        """Return the mean.

        Raises
        ------
        ValueError
            No model was added, or none of them has an example.
        """
        if self._like is None or self._examples is None:
            raise ValueError("there is no client model to merge")
        if self._examples == 0 and self._sums:
            raise ValueError("num_examples is 0 for every client: a mean by examples needs some")
        return {
            name: self._sums[name].div_(self._examples).to(like.dtype)
            if name in self._sums
            else self._counters[name].clone()
            for name, like in self._like.items()
        }
