"""What a client makes of the model that it receives, before it trains: pure functions."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedssl.asked import Asked
from fedssl.last_visit import LastVisit
from fedssl.state import State


@dataclass(frozen=True)
class Start:
    """What a client trains from."""

    state: State
    """All federated tensors; only to be read, some are those that came in."""
    scale: float | None = None
    """FedEMA's λ, once it is fixed."""
    anew: bool = False
    """Whether the client's other private state, such as a target network, starts anew."""


def receive(
    asked: Asked,
    received: Mapping[str, Tensor],
    last: LastVisit | None,
    *,
    initial: Callable[[], Mapping[str, Tensor]],
    parameters: Collection[str],
    round: int,
) -> Start:
    """Make of the received model what the client trains from.

    Parameters
    ----------
    asked : Asked
        What the strategy asks for.
    received : Mapping[str, Tensor]
        The tensors that were sent: all but the local ones.
    last : LastVisit | None
        What the client remembers; None on its first visit.
    initial : Callable[[], Mapping[str, Tensor]]
        The model that the seed makes, where local tensors begin.
    parameters : Collection[str]
        The names of the federated tensors that are trained.
    round : int
        The round.
    """
    state = dict(received)
    if asked.local:
        own = last.own if last else initial()
        state |= {name: own[name] for name in asked.local if name in own}
    if last is None:
        return Start(state)
    state |= newer(asked, last)
    if asked.fedu_threshold is not None and last.moved >= asked.fedu_threshold:
        state |= {n: t for n, t in last.own.items() if n.startswith("predictor.")}
    if asked.fedema_tau is None:
        return Start(state)
    # Its own model has become strange to the others': it takes all of theirs.
    if last.round != round - 1:
        return Start(state, last.scale, anew=True)
    share, scale = own_share(last.moved, last.scale, asked.fedema_tau)
    return Start(mixed(state, last.own, parameters, share), scale)


def newer(asked: Asked, last: LastVisit) -> State:
    """Return those of a client's own scheduled tensors that no round has merged since."""
    pairs = zip(asked.scheduled, asked.merged, strict=True)
    return {name: last.own[name] for name, merged in pairs if last.round > merged}


def own_share(moved: float, scale: float | None, tau: float) -> tuple[float, float | None]:
    """Return FedEMA's μ = min(1, λ·d), and λ = τ/d, which is fixed at its first use.

    Parameters
    ----------
    moved : float
        d: how far the client's encoder moved in its last update.
    scale : float | None
        λ; None before its first use.
    tau : float
        τ: what μ is at its first use.

    Source: Zhuang, Wen and Zhang, "Divergence-aware Federated Self-Supervised Learning", ICLR 2022.
    """
    if scale is None:
        # A client that did not move would fix an infinite λ.
        if moved == 0:
            return 0.0, None
        scale = tau / moved
    return min(1.0, scale * moved), scale


@torch.no_grad()
def mixed(
    received: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    names: Collection[str],
    share: float,
) -> State:
    """Return μ·own + (1 − μ)·received of the tensors named, and all others as received."""
    return dict(received) | {
        name: torch.lerp(received[name], own[name].to(received[name]), share)
        for name in received
        if name in names
    }


@torch.no_grad()
def movement(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], parameters: Collection[str]
) -> float:
    """Return how far an update moved the encoder: the mean over its weights of ‖after − before‖₂.

    A weight is a trained tensor of the encoder of two dimensions or more: in a convolutional
    network, the convolutions.

    Source: Zhuang et al., "Collaborative Unsupervised Visual Representation Learning from
    Decentralized Data", ICCV 2021, whose code takes the mean over the convolutions.
    """
    distances = [
        float(torch.linalg.vector_norm(after[name] - before[name].to(after[name])))
        for name in before
        if name in parameters and name.startswith("encoder.") and before[name].dim() >= 2
    ]
    return math.fsum(distances) / max(1, len(distances))
