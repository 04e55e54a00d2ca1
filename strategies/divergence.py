"""Cosines of clients' tensors with the global ones, and models weighed by them."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from fedssl.model_state import State
from strategies.fold import ExampleMean, UpdateSummary, check_alike, named, number, part_of, zeros
from strategies.ldawa_options import LDAWAOptions

_CHUNK = 1 << 17
"""torch.dot adds float32 in long rows on a CPU: off by 2e-6 over 2 million weights, which is much
of 1 - δ. In chunks of this size, added in double precision, it is off by less than 1e-7."""


def _products(w: Tensor, g: Tensor) -> tuple[float, float]:
    """Return <w, g> and <w, w> of two tensors of one shape."""
    w_flat, g_flat = w.detach().reshape(-1), g.detach().reshape(-1)
    if w.dtype != torch.float32:
        w_flat = w_flat.to(torch.promote_types(w.dtype, torch.float32))
    if g.dtype != w_flat.dtype or g.device != w.device:
        g_flat = g_flat.to(w_flat)
    # On a GPU dot is precise enough, and each chunk would be a wait.
    if len(w_flat) <= _CHUNK or w.device.type != "cpu":
        return torch.dot(w_flat, g_flat).item(), torch.dot(w_flat, w_flat).item()
    with_other = with_itself = 0.0
    for start in range(0, len(w_flat), _CHUNK):
        w_part, g_part = w_flat[start : start + _CHUNK], g_flat[start : start + _CHUNK]
        with_other += torch.dot(w_part, g_part).item()
        with_itself += torch.dot(w_part, w_part).item()
    return with_other, with_itself


def _cosine(dot: float, client_square: float, global_square: float) -> float:
    if global_square == 0:
        return 1.0
    if client_square == 0:
        return 0.0
    # In this order a NaN stays one: min and max return their first argument unless beaten.
    return min(dot / (math.sqrt(client_square) * math.sqrt(global_square)), 1.0)


def directed(state: Mapping[str, Tensor]) -> list[str]:
    """Return the tensors that have a δ: floating ones of at least one dimension, in their order."""
    return [name for name, t in state.items() if t.is_floating_point() and t.dim() > 0]


def divergence(
    global_state: Mapping[str, Tensor], client_state: Mapping[str, Tensor]
) -> dict[str, float]:
    """Return each tensor's cosine with the global one: δ = min(1, <w, g> / (‖w‖·‖g‖)).

    The name is that of L-DAWA's paper, but 1 means the same direction, not the largest distance.

    Parameters
    ----------
    global_state : Mapping[str, Tensor]
        The model that was sent to the client.
    client_state : Mapping[str, Tensor]
        The model that came back, with the same names and shapes.

    Returns
    -------
    dict[str, float]
        δ in [-1, 1] by name, in the model's order, of every floating tensor with at least one
        dimension. Where the global tensor is zero δ is 1; else where the client's is zero, 0.

    Raises
    ------
    ValueError
        The models differ in names or shapes.

    Examples
    --------
    >>> divergence({"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([3.0, 4.0])})
    {'w': 0.6}
    """
    check_alike(global_state, client_state)
    cosines = {}
    for name in directed(global_state):
        w, g = client_state[name], global_state[name]
        cosines[name] = _cosine(*_products(w, g), _products(g, g)[1])
    return cosines


class DivergenceFold:
    """The fold of the L-DAWA family.

    Parameters
    ----------
    global_state : Mapping[str, Tensor]
        The model that was sent to the clients.
    options : LDAWAOptions
        How client models are weighed.
    buffers : frozenset[str]
        The names of BatchNorm's running statistics.
    """

    def __init__(
        self, global_state: Mapping[str, Tensor], options: LDAWAOptions, buffers: frozenset[str]
    ):
        self._global = global_state
        self._options = options
        averaged = buffers if options.bn_buffers == "mean" else frozenset()
        self._weighted = {
            name: g
            for name, g in global_state.items()
            if g.is_floating_point() and name not in averaged
        }
        self._rest = ExampleMean(
            like={name: g for name, g in global_state.items() if name not in self._weighted}
        )
        self._measures = options.granularity != "none" or options.scaling == "restored-norm"
        self._directed = set(directed(self._weighted)) if options.granularity != "none" else set()
        self._global_squares = {name: _products(g, g)[1] for name, g in self._weighted.items()}
        self._sums: dict[str, Tensor] = {}
        self._cosine_sums = dict.fromkeys(self._weighted, 0.0)
        self._norm_sums = dict.fromkeys(self._weighted, 0.0)
        self._weight = 0

    @torch.no_grad()
    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        """Add one client's model.

        Raises
        ------
        ValueError
            Its number of examples is negative, or the model has other tensors than the global one.
        """
        check_alike(self._global, state)
        self._rest.add({n: t for n, t in state.items() if n not in self._weighted}, summary)
        weight = summary.examples if self._options.weighting == "examples" else 1
        self._weight += weight
        self._sums = self._sums or zeros({name: state[name] for name in self._weighted})
        # Lazily, so that a tensor is still in the cache when it is added.
        products: Iterable[tuple[str, float, float]] = (
            (name, *self._products(name, state[name])) for name in self._weighted
        )
        model_cosine = None
        if self._options.granularity == "model":
            products = list(products)
            model_cosine = self._cosine_of_all(products)
        for name, dot, square in products:
            cosine = 1.0
            if name in self._directed:
                cosine = _cosine(dot, square, self._global_squares[name])
                cosine = self._clip(cosine if model_cosine is None else model_cosine)
            factor = 1.0 if self._options.scaling == "constant-shrink" else cosine
            total = self._sums[name]
            total.add_(state[name].to(total.device), alpha=weight * factor)
            self._cosine_sums[name] += weight * cosine
            self._norm_sums[name] += weight * math.sqrt(square)

    def sums(self) -> State:
        """Return the sums after one client was added: its tensors, weighed by its own δ."""
        cosines = {name: number(value) for name, value in self._cosine_sums.items()}
        norms = {name: number(value) for name, value in self._norm_sums.items()}
        return {
            **named("ruled", self._sums),
            **named("rest", self._rest.sums()),
            **named("cosine", cosines),
            **named("norm", norms),
            "weight": number(self._weight),
        }

    def take_sums(self, total: Mapping[str, Tensor]) -> None:
        """Continue from the sum of all clients' `sums`."""
        self._sums = {name: t.clone() for name, t in part_of("ruled", total).items()}
        self._rest.take_sums(part_of("rest", total))
        self._cosine_sums = {name: t.item() for name, t in part_of("cosine", total).items()}
        self._norm_sums = {name: t.item() for name, t in part_of("norm", total).items()}
        self._weight = round(total["weight"].item())

    def _products(self, name: str, tensor: Tensor) -> tuple[float, float]:
        """Return <w, g> and ‖w‖²; zeros where the options do not use them."""
        return _products(tensor, self._global[name]) if self._measures else (0.0, 0.0)

    def _cosine_of_all(self, products: Iterable[tuple[str, float, float]]) -> float:
        """Return the δ of all directed tensors as one vector."""
        triples = [
            (dot, square, self._global_squares[name])
            for name, dot, square in products
            if name in self._directed
        ]
        return _cosine(*map(sum, zip(*triples, strict=True)))

    def _clip(self, cosine: float) -> float:
        return max(cosine, 0.0) if self._options.negative == "clip" else cosine

    def result(self) -> dict[str, Tensor]:
        """Return the merged model.

        Raises
        ------
        ValueError
            No model was added, or a mean by examples is asked for and no client has any.
        """
        merged = self._rest.result()
        if self._weight == 0:
            raise ValueError("num_examples is 0 for every client: a mean by examples needs some")
        for name, total in self._sums.items():
            merged[name] = self._scale(name, total).to(self._global[name].dtype)
        return {name: merged[name] for name in self._global}

    def _scale(self, name: str, total: Tensor) -> Tensor:
        mean_cosine = self._cosine_sums[name] / self._weight
        match self._options.scaling:
            case "as-is":
                return total.div_(self._weight)
            case "constant-shrink":
                return total.mul_(mean_cosine / self._weight)
            case "normalized":
                divisor = self._cosine_sums[name]
                return self._global[name].detach().clone() if divisor == 0 else total.div_(divisor)
            case "restored-norm":
                norm = math.sqrt(_products(total, total)[1])
                target = self._norm_sums[name] / self._weight
                return (
                    self._global[name].detach().clone() if norm == 0 else total.mul_(target / norm)
                )
