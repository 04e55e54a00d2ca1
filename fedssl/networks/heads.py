"""Projectors and predictors: small networks that follow an encoder."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn


def mlp(widths: Sequence[int], *, last_norm: Literal["none", "plain", "affine"]) -> nn.Sequential:
    """Build a multi-layer perceptron of Linear, BatchNorm and ReLU, which ends with a Linear.

    Parameters
    ----------
    widths : Sequence[int]
        The widths of the input and of each layer's output. A single width gives the identity.
    last_norm : {"none", "plain", "affine"}
        The BatchNorm after the last Linear: none, without a trainable scale and shift (as in
        SimSiam), or with them.

    Returns
    -------
    nn.Sequential
        The network, from [B, ``widths[0]``] to [B, ``widths[-1]``].

    Examples
    --------
    >>> [type(layer).__name__ for layer in mlp([4, 8, 2], last_norm="none")]
    ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    """
    layers: list[nn.Module] = []
    pairs = list(pairwise(widths))
    for number, (before, after) in enumerate(pairs, start=1):
        is_last = number == len(pairs)
        # A BatchNorm subtracts the mean, so a bias before it would change nothing.
        layers.append(nn.Linear(before, after, bias=is_last and last_norm == "none"))
        if not is_last:
            layers += [nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
        elif last_norm != "none":
            layers.append(nn.BatchNorm1d(after, affine=last_norm == "affine"))
    return nn.Sequential(*layers)
