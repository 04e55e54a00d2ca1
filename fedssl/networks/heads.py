"""Projectors and predictors: small networks on top of an encoder."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn


def mlp(widths: Sequence[int], *, last_norm: Literal["none", "plain", "affine"]) -> nn.Sequential:
    """Build a multi-layer perceptron: Linear, BatchNorm and ReLU, ending in a Linear.

    Parameters
    ----------
    widths : Sequence[int]
        The width of the input, then of each layer's output. A single width makes the identity.
    last_norm : {"none", "plain", "affine"}
        The BatchNorm after the last Linear: none, one without trainable scale and shift
        (SimSiam's), or a usual one.

    Returns
    -------
    nn.Sequential
        Maps [B, ``widths[0]``] to [B, ``widths[-1]``].
    """
    layers: list[nn.Module] = []
    pairs = list(pairwise(widths))
    for place, (before, after) in enumerate(pairs, start=1):
        last = place == len(pairs)
        # A BatchNorm subtracts the mean, so a bias before it would change nothing.
        layers.append(nn.Linear(before, after, bias=last and last_norm == "none"))
        if not last:
            layers += [nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
        elif last_norm != "none":
            layers.append(nn.BatchNorm1d(after, affine=last_norm == "affine"))
    return nn.Sequential(*layers)
