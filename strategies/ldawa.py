"""L-DAWA: client tensors are weighed by their cosine with the global model's.

Rehman et al., "L-DAWA: Layer-wise Divergence Aware Weight Aggregation in Federated Self-Supervised
Visual Representation Learning", ICCV 2023.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from strategies import fold
from strategies.base import FoldingStrategy
from strategies.fold import ExampleMean, Fold, accumulate, check_alike
from strategies.rule import PRESETS, Rule, resolve

__all__ = ["LDAWA", "PRESETS", "DivergenceFold", "Rule", "directed", "divergence", "merge"]

_CHUNK = 1 << 16
"""torch.dot adds float32 in long rows on a CPU: off by 1e-5 over 2 million weights, which is much
of 1 - δ. In chunks of this size it is off by 2e-7, and takes no longer to speak of."""


def _dot(a: Tensor, b: Tensor) -> float:
    dtype = torch.promote_types(a.dtype, torch.float32)
    flat_a = a.detach().to(dtype).reshape(-1)
    flat_b = b.detach().to(a.device, dtype).reshape(-1)
    starts = range(0, max(len(flat_a), 1), _CHUNK)
    parts = [torch.dot(flat_a[i : i + _CHUNK], flat_b[i : i + _CHUNK]) for i in starts]
    return float(torch.stack(parts).sum())


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
    """
    check_alike(global_state, client_state)
    cosines = {}
    for name in directed(global_state):
        w, g = client_state[name], global_state[name]
        cosines[name] = _cosine(_dot(w, g), _dot(w, w), _dot(g, g))
    return cosines


class DivergenceFold:
    """The fold of the L-DAWA family.

    Parameters
    ----------
    global_state : Mapping[str, Tensor]
        The model that was sent to the clients.
    rule : Rule
        The choices.
    buffers : frozenset[str]
        The names of BatchNorm's running statistics.
    """

    def __init__(self, global_state: Mapping[str, Tensor], rule: Rule, buffers: frozenset[str]):
        self._global = global_state
        self._rule = rule
        averaged = buffers if rule.bn_buffers == "mean" else frozenset()
        self._ruled = {
            name: g
            for name, g in global_state.items()
            if g.is_floating_point() and name not in averaged
        }
        self._rest = ExampleMean(
            like={name: g for name, g in global_state.items() if name not in self._ruled}
        )
        self._needs_squares = rule.granularity != "none" or rule.scaling == "restored-norm"
        self._global_squares = self._squares(global_state)
        self._sums: dict[str, Tensor] = {}
        self._cosine_sums = dict.fromkeys(self._ruled, 0.0)
        self._norm_sums = dict.fromkeys(self._ruled, 0.0)
        self._weight = 0

    def add(self, state: Mapping[str, Tensor], num_examples: int) -> None:
        """Add one client's model.

        Raises
        ------
        ValueError
            ``num_examples`` is negative, or the model has other tensors than the global one.
        """
        check_alike(self._global, state)
        self._rest.add({n: t for n, t in state.items() if n not in self._ruled}, num_examples)
        weight = num_examples if self._rule.weighting == "examples" else 1
        self._weight += weight
        squares = self._squares(state)
        for name, cosine in self._cosines(state, squares).items():
            own = 1.0 if self._rule.scaling == "constant-shrink" else cosine
            accumulate(self._sums, name, state[name], weight * own)
            self._cosine_sums[name] += weight * cosine
            self._norm_sums[name] += weight * math.sqrt(squares[name])

    def _squares(self, state: Mapping[str, Tensor]) -> dict[str, float]:
        """Return ‖w‖² by name; 0 where the rule has no use for it."""
        if not self._needs_squares:
            return dict.fromkeys(self._ruled, 0.0)
        return {name: _dot(state[name], state[name]) for name in self._ruled}

    def _cosines(
        self, state: Mapping[str, Tensor], squares: Mapping[str, float]
    ) -> dict[str, float]:
        """Return δ by name; 1 for what has no direction."""
        names = directed(self._ruled)
        cosines = dict.fromkeys(self._ruled, 1.0)
        if self._rule.granularity == "none":
            return cosines
        dots = {name: _dot(state[name], self._global[name]) for name in names}
        if self._rule.granularity == "model":
            whole = _cosine(
                sum(dots.values()),
                sum(squares[name] for name in names),
                sum(self._global_squares[name] for name in names),
            )
            cosines |= dict.fromkeys(names, whole)
        else:
            cosines |= {
                name: _cosine(dot, squares[name], self._global_squares[name])
                for name, dot in dots.items()
            }
        if self._rule.negative == "clip":
            cosines = {name: max(cosine, 0.0) for name, cosine in cosines.items()}
        return cosines

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
        match self._rule.scaling:
            case "as-is":
                return total / self._weight
            case "constant-shrink":
                return total * (mean_cosine / self._weight)
            case "normalized":
                divisor = self._cosine_sums[name]
                return self._global[name].detach().clone() if divisor == 0 else total / divisor
            case "restored-norm":
                norm = math.sqrt(_dot(total, total))
                target = self._norm_sums[name] / self._weight
                return self._global[name].detach().clone() if norm == 0 else total * (target / norm)


def merge(
    global_state: Mapping[str, Tensor],
    client_states: Iterable[Mapping[str, Tensor]],
    num_examples: Iterable[int],
    *,
    preset: str | Rule = "ldawa",
    buffers: frozenset[str] = frozenset(),
) -> dict[str, Tensor]:
    """Merge client models by a rule of the L-DAWA family; as a rule g'[l] = 1/K·Σ_k δ[k,l]·w[k,l].

    This is the rule itself: the rounds of FedAvg before it belong to the strategy. Integer counters
    take the maximum. Nothing that comes in is written to, or shared with what is returned.

    Parameters
    ----------
    global_state : Mapping[str, Tensor]
        The model g that was sent to the clients.
    client_states : Iterable[Mapping[str, Tensor]]
        The models w[k] that came back, with the same names and shapes; read one by one.
    num_examples : Iterable[int]
        How many images each client trained on.
    preset : str | Rule (default: "ldawa")
        The rule, or its name in ``PRESETS``.
    buffers : frozenset[str] (default: frozenset())
        The names of BatchNorm's running statistics, which most rules average by examples.

    Raises
    ------
    ValueError
        There is no client or no such preset, or the models differ in names or shapes.
    """
    return fold.merge(
        DivergenceFold(global_state, resolve(preset), buffers), client_states, num_examples
    )


class LDAWA(FoldingStrategy):
    """Weigh each tensor of each client by its cosine with the global one (Rehman et al., 2023).

    For when clients' images differ, so that some clients' layers drift off: the further a layer
    turned from the global one, the less it counts. The first rounds are FedAvg by examples, since
    an untrained model has no direction worth keeping. In reading results, mind that the weights are
    not divided by their sum, so that every tensor also shrinks: compare with ``uniform``, and with
    the controls ``ldawa-normalized``, ``const-shrink`` and ``ldawa-renorm``.

    Parameters
    ----------
    preset : str | Rule (default: "ldawa")
        The rule, or its name in ``PRESETS``.
    warmup_rounds : int (default: 3)
        How many first rounds are FedAvg by examples.
    buffers : frozenset[str] (default: frozenset())
        The names of BatchNorm's running statistics.
    **choices : Any
        Fields of ``Rule`` that replace the preset's.
    """

    def __init__(
        self,
        preset: str | Rule = "ldawa",
        *,
        warmup_rounds: int = 3,
        buffers: frozenset[str] = frozenset(),
        **choices: Any,
    ):
        super().__init__()
        self.rule = replace(resolve(preset), **choices)
        self.warmup_rounds = warmup_rounds
        self.buffers = buffers

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a mean by examples in the first rounds, then the rule's fold."""
        if server_round <= self.warmup_rounds:
            return ExampleMean(like=global_state)
        return DivergenceFold(global_state, self.rule, self.buffers)

    def __repr__(self) -> str:
        return f"LDAWA: {self.rule}, after {self.warmup_rounds} rounds of FedAvg"
