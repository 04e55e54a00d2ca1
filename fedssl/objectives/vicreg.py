"""VICReg: views agree, every feature varies, and no two features say the same."""

from collections.abc import Sequence
from typing import Literal, cast

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.networks.heads import mlp
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch
from fedssl.objectives.covariance import off_diagonal_covariance

EPSILON = 1e-4
"""Added to a variance before its root, whose slope at zero would be infinite."""


def variance_hinge(features: Tensor) -> Tensor:
    """Return the mean over features [B, D] of max(0, 1 − √(var + ε)), var dividing by B − 1."""
    return F.relu(1 - (features.var(0) + EPSILON).sqrt()).mean()


@in_float32
def vicreg(
    first: Tensor, second: Tensor, invariance: float, variance: float, covariance: float
) -> Tensor:
    """Return λ·MSE(z, z') + μ·½(v(z) + v(z')) + ν·(c(z) + c(z')).

    v is `variance_hinge`, c is `off_diagonal_covariance`.

    Parameters
    ----------
    first, second : Tensor
        [B, D] each: the projections of the two views, not normalised.
    invariance, variance, covariance : float
        λ, μ, ν.

    Source: Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for
    Self-Supervised Learning", ICLR 2022, equations 1 to 6; the ½ is that of the authors' code.

    Examples
    --------
    >>> import torch
    >>> view = torch.tensor([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]])
    >>> float(vicreg(view, view, invariance=25.0, variance=25.0, covariance=1.0))
    0.0
    """
    spread = (variance_hinge(first) + variance_hinge(second)) / 2
    redundancy = off_diagonal_covariance(first) + off_diagonal_covariance(second)
    return invariance * F.mse_loss(first, second) + variance * spread + covariance * redundancy


class VICReg(Objective):
    """Like Barlow Twins, but each view keeps its own spread: wants a wide projector.

    Each view is a batch of its own for BatchNorm. Projections are not normalised, so a learning
    rate that is too high makes the loss infinite. Everything is federated.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of VICReg."""

        name: Literal["vicreg"] = "vicreg"
        """Bring views together while every feature varies and none repeats another."""
        invariance: Number = Field(25.0, ge=0)
        """λ: the weight of the distance between the two views."""
        variance: Number = Field(25.0, ge=0)
        """μ: the weight of keeping each feature's standard deviation at 1 or above."""
        covariance: Number = Field(1.0, ge=0)
        """ν: the weight of the covariances between features."""

    config: Config

    # With two examples all features are perfectly correlated whatever the weights.
    minimum_batch = 3

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder = encoder
        self.projector = mlp([cast(int, encoder.features), *projector], last_norm="none")

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar."""
        first, second = (self.projector(self.encoder(view)) for view in batch.views)
        weights = (self.config.invariance, self.config.variance, self.config.covariance)
        return vicreg(first, second, *weights)
