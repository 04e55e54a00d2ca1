"""How far a client's update moved its encoder: the divergence of FedU and FedEMA."""

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor


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


def as_number(value: float) -> Tensor:
    """Return a number as a client remembers it: float64, so that it is not rounded."""
    return torch.tensor(value, dtype=torch.float64)
