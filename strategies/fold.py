"""Folds: client models are merged one by one, so that memory does not grow with the cohort."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from fedssl.base.allocator import allocate
from fedssl.model_state import State, parameter_names

__all__ = [
    "ExampleMean",
    "Fold",
    "ParameterMean",
    "UpdateSummary",
    "WeightedMean",
    "check_alike",
    "check_examples",
    "merge",
    "named",
    "number",
    "parameter_names",
    "part_of",
    "squared_norm",
    "zeros",
]


_WEIGHT = "the weights"
"""The key of the sum of the weights: no tensor of a model has a space in its name."""


@dataclass(frozen=True)
class UpdateSummary:
    """What a client's reply says of its update, besides the model."""

    examples: int
    """The number of examples it trained on."""
    loss: float = float("nan")
    """The mean loss over these examples; NaN if the client reports none."""
    metrics: Mapping[str, object] = field(default_factory=dict)
    """All the metrics of its reply."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """The extra tensors of client rules, keyed ``rule/tensor``."""

    def number(self, name: str) -> float:
        """Return a metric that is a number; a ValueError says that it is not."""
        value = self.metrics.get(name)
        if not isinstance(value, (int, float)):
            there = ", ".join(map(str, self.metrics))
            raise ValueError(
                f"its metric {name} is {value!r} in place of a number; its metrics are {there}"
            )
        return value

    def numbers(self, name: str, count: int) -> list[float]:
        """Return a metric that is a list of so many numbers; a ValueError says that it is not."""
        value = self.metrics.get(name)
        if not isinstance(value, list) or len(value) != count:
            raise ValueError(f"its metric {name} is no list of {count} numbers")
        return value


class Fold(Protocol):
    """A merge in progress: client models are added one by one, then the result is read."""

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        """Add one client's model, which is not modified; most folds do not keep it."""

    def result(self) -> dict[str, Tensor]:
        """Return the merged model, which shares memory with nothing that was added; call it once.

        It may be the running sums themselves, divided in place.
        """


def merge(
    fold: Fold, client_states: Iterable[Mapping[str, Tensor]], summaries: Iterable[UpdateSummary]
) -> dict[str, Tensor]:
    """Add every client's model to a fold, in the order given, and return its result.

    Raises
    ------
    ValueError
        The numbers of models and summaries differ, or the fold refuses a model.

    Examples
    --------
    >>> clients = [{"w": torch.tensor([1.0])}, {"w": torch.tensor([4.0])}]
    >>> merge(ExampleMean(), clients, [UpdateSummary(examples=2), UpdateSummary(examples=1)])
    {'w': tensor([2.])}
    """
    for state, summary in zip(client_states, summaries, strict=True):
        fold.add(state, summary)
    return fold.result()


def check_alike(reference: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Raise a ValueError that names the tensor in which two models differ in kind or shape."""
    if unshared := sorted(reference.keys() ^ state.keys()):
        name = unshared[0]
        problem = "lacks" if name in reference else "has an unexpected"
        raise ValueError(f"the client's model {problem} tensor {name}")
    for name, expected in reference.items():
        tensor = state[name]
        if tensor.shape != expected.shape:
            raise ValueError(
                f"tensor {name} has the shape {tuple(tensor.shape)} in place of "
                f"{tuple(expected.shape)}"
            )
        if tensor.is_floating_point() != expected.is_floating_point():
            raise ValueError(f"tensor {name} is {tensor.dtype} in place of {expected.dtype}")


def squared_norm(tensor: Tensor) -> float:
    """Return ‖t‖², summed in float64."""
    return float(torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64)) ** 2


def zeros(like: Mapping[str, Tensor], device: torch.device | None = None) -> dict[str, Tensor]:
    """Return running sums for floating tensors: zeros, at least float32."""
    shapes = {
        name: torch.empty_like(t, dtype=torch.promote_types(t.dtype, torch.float32), device="meta")
        for name, t in like.items()
    }
    like_device = next((t.device for t in like.values()), torch.device("cpu"))
    sums = allocate(shapes, device or like_device)
    for total in sums.values():
        total.zero_()
    return sums


def named(part: str, sums: Mapping[str, Tensor]) -> State:
    """Return the sums of one part of a fold, keyed ``part name``."""
    return {f"{part} {name}": tensor for name, tensor in sums.items()}


def part_of(part: str, total: Mapping[str, Tensor]) -> State:
    """Return the sums of one part, from those of a whole fold; the inverse of `named`."""
    prefix = f"{part} "
    return {n.removeprefix(prefix): t for n, t in total.items() if n.startswith(prefix)}


def number(value: float) -> Tensor:
    """Return a number as a float64 tensor, the form in which sums hold it."""
    return torch.tensor(value, dtype=torch.float64)


class WeightedMean:
    """A weighted mean of models, added one by one; integer counters take the maximum.

    Parameters
    ----------
    like : Mapping[str, Tensor] | None (default: None)
        A model whose names, shapes and element types each client's must have, and on whose device
        the mean is; None for those of the first client.
    """

    def __init__(self, like: Mapping[str, Tensor] | None = None):
        self._like = like
        self._device = next((t.device for t in (like or {}).values()), None)
        self._sums: dict[str, Tensor] = {}
        self._counters: dict[str, Tensor] = {}
        self.weight: float | None = None
        """The sum of the weights so far; None if no model was added."""

    @torch.no_grad()
    def add(self, state: Mapping[str, Tensor], weight: float) -> None:
        """Add one client's model.

        Raises
        ------
        ValueError
            The model has other tensors than it should.
        """
        if self._like is None:
            # On the meta device a tensor is its shape and type alone, and holds no memory.
            self._like = {n: torch.empty_like(t, device="meta") for n, t in state.items()}
        check_alike(self._like, state)
        floats = {n: t for n, t in state.items() if t.is_floating_point()}
        if floats:
            self._sums = self._sums or zeros(floats, self._device)
            tensors = [t.to(self._sums[name].device) for name, t in floats.items()]
            torch._foreach_add_([self._sums[name] for name in floats], tensors, alpha=weight)
        for name, tensor in state.items():
            if name in floats:
                continue
            if name in self._counters:
                largest = self._counters[name]
                self._counters[name] = torch.maximum(largest, tensor.detach().to(largest.device))
            else:
                self._counters[name] = tensor.detach().clone()
        self.weight = (self.weight or 0) + weight

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        """Multiply all weights so far by a factor."""
        if self._sums:
            torch._foreach_mul_(list(self._sums.values()), factor)
        self.weight = None if self.weight is None else self.weight * factor

    def sums(self) -> State:
        """Return the sums after one client was added; see `summed.SummedFold`."""
        weight = self.weight or 0.0
        counters = {name: weight * t.double() for name, t in self._counters.items()}
        return {**self._sums, **counters, _WEIGHT: number(weight)}

    def take_sums(self, total: Mapping[str, Tensor]) -> None:
        """Continue from the sum of all clients' `sums`."""
        sums = {name: tensor.clone() for name, tensor in total.items() if name != _WEIGHT}
        self.weight = total[_WEIGHT].item()
        self._like = self._like or {n: torch.empty_like(t, device="meta") for n, t in sums.items()}
        for name, like in self._like.items():
            if like.is_floating_point():
                self._sums[name] = sums[name]
            else:
                mean = sums[name] / self.weight if self.weight else sums[name]
                self._counters[name] = mean.round().to(like.dtype)

    def result(self) -> dict[str, Tensor]:
        """Return the mean.

        Raises
        ------
        ValueError
            No model was added, or none of them has a weight: no client has an example.
        """
        if self._like is None or self.weight is None:
            raise ValueError("there is no client model to merge")
        if self.weight == 0 and self._sums:
            raise ValueError("num_examples is 0 for every client: a mean by examples needs some")
        return {
            name: self._sums[name].div_(self.weight).to(like.dtype)
            if name in self._sums
            else self._counters[name].clone()
            for name, like in self._like.items()
        }


class ExampleMean:
    """FedAvg's fold: floats are averaged by examples, integer counters take the maximum.

    Parameters
    ----------
    like : Mapping[str, Tensor] | None (default: None)
        See `WeightedMean`.
    """

    def __init__(self, like: Mapping[str, Tensor] | None = None):
        self._mean = WeightedMean(like)

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        """Add one client's model.

        Raises
        ------
        ValueError
            Its number of examples is negative, or the model has other tensors than it should.
        """
        self._mean.add(state, check_examples(summary))

    def sums(self) -> State:
        """Return the sums after one client was added; see `summed.SummedFold`."""
        return self._mean.sums()

    def take_sums(self, total: Mapping[str, Tensor]) -> None:
        """Continue from the sum of all clients' `sums`."""
        self._mean.take_sums(total)

    def result(self) -> dict[str, Tensor]:
        """Return the mean; a ValueError says that there is no model, or none with an example."""
        return self._mean.result()


class ParameterMean:
    """The unweighted mean of clients' parameters; all other tensors are averaged by examples.

    Parameters
    ----------
    like : Mapping[str, Tensor]
        A model whose names, shapes and element types each client's must have.
    buffers : frozenset[str]
        The names of BatchNorm's running statistics.
    """

    def __init__(self, like: Mapping[str, Tensor], buffers: frozenset[str]):
        self.names = dict.fromkeys(parameter_names(like, buffers))
        self._like = like
        self._mean = WeightedMean({name: like[name] for name in self.names})
        self._rest = ExampleMean({name: t for name, t in like.items() if name not in self.names})

    @property
    def clients(self) -> int:
        """The number of clients added."""
        return round(self._mean.weight or 0)

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        """Add one client's model; a ValueError says that it has other tensors than it should."""
        self._rest.add({n: t for n, t in state.items() if n not in self.names}, summary)
        self._mean.add({name: state[name] for name in self.names}, 1)

    def sums(self) -> State:
        """Return the sums after one client was added; see `summed.SummedFold`."""
        return {**named("mean", self._mean.sums()), **named("rest", self._rest.sums())}

    def take_sums(self, total: Mapping[str, Tensor]) -> None:
        """Continue from the sum of all clients' `sums`."""
        self._mean.take_sums(part_of("mean", total))
        self._rest.take_sums(part_of("rest", total))

    def result(self) -> dict[str, Tensor]:
        """Return the means; a ValueError says that there is no model, or none with an example."""
        merged = self._mean.result() | self._rest.result()
        return {name: merged[name] for name in self._like}


def check_examples(summary: UpdateSummary) -> int:
    """Return a summary's number of examples; a ValueError says that it is negative."""
    if summary.examples < 0:
        raise ValueError(f"num_examples = {summary.examples}: it must not be negative")
    return summary.examples
