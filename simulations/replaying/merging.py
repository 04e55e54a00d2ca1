"""What a merge did to the encoder: how far it went, which way, and how long its weights are."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedssl.model_state import State
from strategies.fold import squared_norm


@dataclass(frozen=True)
class Step:
    """A merge's step from the model that was sent to the one that came of it."""

    length: float
    """‖g' − g‖ / ‖g‖, over all the encoder's weights."""
    norm: float
    """‖g'‖ / Σ_k p_k‖w_k‖: 1 where the merged weights are as long as the clients' were."""
    direction: float
    """The cosine of g' − g with the first strategy's step; NaN where one of them is 0."""


def weights(state: Mapping[str, Tensor], buffers: frozenset[str]) -> list[str]:
    """Return the names of the encoder's floating tensors, BatchNorm's statistics left out."""
    return [
        name
        for name, tensor in state.items()
        if name.startswith("encoder.") and tensor.is_floating_point() and name not in buffers
    ]


def mean_norms(
    models: Iterable[tuple[int, int, State]], names: Iterable[str]
) -> tuple[dict[str, float], float]:
    """Return Σ_k p_k‖w_k[l]‖ of each tensor l, and Σ_k p_k‖w_k‖ over them all.

    Parameters
    ----------
    models : Iterable[tuple[int, int, State]]
        Each client with its number of examples, whose share is p_k, and its model.
    names : Iterable[str]
        The tensors; one that a model lacks, since it stays on the clients, is left out.
    """
    names = list(names)
    sums = dict.fromkeys(names, 0.0)
    whole = examples = 0.0
    for _, count, model in models:
        squares = {name: squared_norm(model[name]) for name in names if name in model}
        for name, square in squares.items():
            sums[name] += count * math.sqrt(square)
        whole += count * math.sqrt(math.fsum(squares.values()))
        examples += count
    return {n: total / examples for n, total in sums.items() if total}, whole / examples


@torch.no_grad()
def step(
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    first: Mapping[str, Tensor],
    names: Iterable[str],
    client_norm: float,
) -> Step:
    """Measure a merge.

    Parameters
    ----------
    before, after, first : Mapping[str, Tensor]
        The model that was sent, what a strategy made of the replies, and what the first one made.
    names : Iterable[str]
        The tensors that count.
    client_norm : float
        Σ_k p_k‖w_k‖ over them.
    """
    names = list(names)
    start, end, other = (
        torch.cat([s[n].detach().cpu().double().flatten() for n in names])
        for s in (before, after, first)
    )
    own, reference = end - start, other - start
    length = float(own.norm())
    products = length * float(reference.norm())
    return Step(
        length=length / float(start.norm()),
        norm=float(end.norm()) / client_norm,
        direction=float(own @ reference) / products if products else math.nan,
    )


@torch.no_grad()
def norms_restored(state: Mapping[str, Tensor], norms: Mapping[str, float]) -> State:
    """Return a model each of whose tensors is as long as the clients' were, by ``norms``."""
    restored = dict(state)
    for name, target in norms.items():
        own = math.sqrt(squared_norm(state[name]))
        if own:
            restored[name] = state[name] * (target / own)
    return restored
