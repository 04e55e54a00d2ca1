"""Measurements of a merge: how far and in which direction it moved the encoder's weights."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedssl.model_state import State
from strategies.fold import squared_norm


@dataclass(frozen=True)
class ModelUpdate:
    """The update g' − g from the model g that was sent to the merged model g'."""

    length: float
    """The relative update norm ‖g' − g‖ / ‖g‖, over all the encoder's weights."""
    norm: float
    """The norm ratio ‖g'‖ / Σ_k p_k‖w_k‖: 1 if merging kept the clients' mean norm."""
    direction: float
    """The cosine of this update with the first strategy's; NaN if one of them is 0."""


def encoder_weights(state: Mapping[str, Tensor], buffers: frozenset[str]) -> list[str]:
    """Return the names of the encoder's floating tensors without BatchNorm statistics."""
    return [
        name
        for name, tensor in state.items()
        if name.startswith("encoder.") and tensor.is_floating_point() and name not in buffers
    ]


def mean_client_norms(
    models: Iterable[tuple[int, int, State]], names: Iterable[str]
) -> tuple[dict[str, float], float]:
    """Return the mean norm Σ_k p_k‖w_k[l]‖ of each tensor l, and Σ_k p_k‖w_k‖ over all tensors.

    Parameters
    ----------
    models : Iterable[tuple[int, int, State]]
        Client, number of examples and model of each reply; p_k is the share of the examples.
    names : Iterable[str]
        The tensors' names. A tensor that a model lacks, because it stays local, is left out.
    """
    names = list(names)
    sums = dict.fromkeys(names, 0.0)
    total = examples = 0.0
    for _, count, model in models:
        squares = {name: squared_norm(model[name]) for name in names if name in model}
        for name, square in squares.items():
            sums[name] += count * math.sqrt(square)
        total += count * math.sqrt(math.fsum(squares.values()))
        examples += count
    return {name: norms / examples for name, norms in sums.items() if norms}, total / examples


@torch.no_grad()
def model_update(
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    first: Mapping[str, Tensor],
    names: Iterable[str],
    client_norm: float,
) -> ModelUpdate:
    """Measure a merge.

    Parameters
    ----------
    before, after, first : Mapping[str, Tensor]
        The model that was sent, the one a strategy merged, and the one the first strategy merged.
    names : Iterable[str]
        The names of the tensors that are compared.
    client_norm : float
        The clients' mean norm Σ_k p_k‖w_k‖ over these tensors.
    """
    names = list(names)
    start, end, other = (
        torch.cat([s[n].detach().cpu().double().flatten() for n in names])
        for s in (before, after, first)
    )
    update, reference = end - start, other - start
    length = float(update.norm())
    products = length * float(reference.norm())
    return ModelUpdate(
        length=length / float(start.norm()),
        norm=float(end.norm()) / client_norm,
        direction=float(update @ reference) / products if products else math.nan,
    )


@torch.no_grad()
def norms_restored(state: Mapping[str, Tensor], norms: Mapping[str, float]) -> State:
    """Return the model with each tensor scaled to the norm that ``norms`` gives for it."""
    restored = dict(state)
    for name, target in norms.items():
        norm = math.sqrt(squared_norm(state[name]))
        if norm:
            restored[name] = state[name] * (target / norm)
    return restored
