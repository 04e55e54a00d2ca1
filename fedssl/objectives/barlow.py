"""Barlow Twins: make the features of two views agree, and each tell something of its own."""

from collections.abc import Sequence
from typing import Literal, cast

from pydantic import Field
from torch import Tensor, nn

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.networks.heads import mlp
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch

EPSILON = 1e-5
"""Added to a feature's variance (BatchNorm's), so that a constant feature gives no infinity."""


def standardise(features: Tensor) -> Tensor:
    """Give each feature of a batch [B, D] mean 0 and (biased) variance 1."""
    variance, mean = features.var(0, correction=0), features.mean(0)
    return (features - mean) * (variance + EPSILON).rsqrt()


def from_identity(correlation: Tensor, off_diagonal: float) -> Tensor:
    """Return Σ_i (1 − c_ii)² + λ·Σ_{i≠j} c_ij² of a matrix c [D, D]; ``off_diagonal`` is λ."""
    diagonal = correlation.diagonal()
    # Both sums run over D or D² entries: subtracting the diagonal's share saves a copy of c.
    others = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + off_diagonal * others


@in_float32
def barlow_twins(first: Tensor, second: Tensor, off_diagonal: float) -> Tensor:
    """Return Σ_i (1 − c_ii)² + λ·Σ_{i≠j} c_ij² of the cross-correlation c of two views.

    Parameters
    ----------
    first, second : Tensor
        [B, D] each: the projections of the two views. Each feature is standardised over the
        batch; then c = firstᵀ·second / B.
    off_diagonal : float
        λ.

    Source: Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
    ICML 2021, equations 1 and 2.

    Examples
    --------
    >>> import torch
    >>> views = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(float(barlow_twins(views, views, off_diagonal=0.005)), 4)
    0.0
    """
    correlation = standardise(first).T @ standardise(second) / len(first)
    return from_identity(correlation, off_diagonal)


class BarlowTwins(Objective):
    """Decorrelates features, without negatives or copy: wants a wide projector.

    The cross-correlation of the two views' projections is made the identity. Each view is a batch
    of its own for BatchNorm. Works best with a wide projector. Everything is federated.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of Barlow Twins."""

        name: Literal["barlow"] = "barlow"
        """Make the cross-correlation between the features of two views the identity."""
        off_diagonal: Number = Field(0.005, ge=0)
        """λ: the weight of the entries off the diagonal."""

    config: Config

    # With two examples every correlation is ±1 whatever the weights, so nothing is learned.
    minimum_batch = 3

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder = encoder
        self.projector = mlp([cast(int, encoder.features), *projector], last_norm="none")

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar."""
        first, second = (self.projector(self.encoder(view)) for view in batch.views)
        return barlow_twins(first, second, self.config.off_diagonal)
