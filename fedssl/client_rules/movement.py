"""The distance that a client's update moved its encoder: the divergence of FedU and FedEMA."""

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor


@torch.no_grad()
def movement(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], parameters: Collection[str]
) -> float:
    """Return the mean of ‖after − before‖₂ over the encoder's weight tensors.

    A weight tensor is a trained tensor of at least two dimensions: in a convolutional network, that
    of a convolution.

    Examples
    --------
    >>> before, after = {"encoder.w": torch.zeros(2, 2)}, {"encoder.w": torch.ones(2, 2)}
    >>> movement(before, after, {"encoder.w"})
    2.0

    Source: Zhuang et al., "Collaborative Unsupervised Visual Representation Learning from
    Decentralized Data", ICCV 2021, whose code takes the mean over the convolutions.
    """
    distances = [
        float(torch.linalg.vector_norm(after[name] - before[name].to(after[name])))
        for name in before
        if name in parameters and name.startswith("encoder.") and before[name].dim() >= 2
    ]
    return math.fsum(distances) / max(1, len(distances))


def number_tensor(value: float) -> Tensor:
    """Return a number as a float64 tensor, which a client remembers without rounding."""
    return torch.tensor(value, dtype=torch.float64)
