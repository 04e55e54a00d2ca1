"""DirectPred: BYOL whose predictor is computed from the projections' correlation, not trained."""

from collections.abc import Sequence
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.networks.heads import mlp
from fedssl.objectives.base import ObjectiveConfig
from fedssl.objectives.batch import Batch
from fedssl.objectives.byol import prediction_error
from fedssl.objectives.momentum import MomentumObjective


@in_float32
def optimal_predictor(correlation: Tensor, epsilon: float) -> Tensor:
    """Return W = Q·diag(√(max(λ, 0)/λ_max) + ε)·Qᵀ, where C = Q·diag(λ)·Qᵀ.

    Parameters
    ----------
    correlation : Tensor
        [D, D], symmetric: C, the mean of z·zᵀ.
    epsilon : float
        ε > 0: what directions get that hardly occur.

    Returns
    -------
    Tensor
        [D, D], symmetric.

    Source: Tian, Chen and Ganguli, "Understanding Self-Supervised Learning Dynamics without
    Contrastive Pairs", ICML 2021, section 4; λ is divided by its largest as in the authors' code.

    Examples
    --------
    >>> optimal_predictor(torch.tensor([[4.0, 0.0], [0.0, 1.0]]), epsilon=0.01).diagonal()
    tensor([1.0100, 0.5100])
    """
    # Weights that are not finite shall give such a loss, which is explained; eigh only stops.
    values, vectors = torch.linalg.eigh(correlation.nan_to_num())
    values = values.clamp(min=0)
    scale = (values / values[-1].clamp(min=torch.finfo(values.dtype).tiny)).sqrt() + epsilon
    predictor: Tensor = vectors * scale @ vectors.T
    return predictor


class DirectPred(MomentumObjective):
    """BYOL with one thing fewer to train and to merge: the predictor follows from the projections.

    The predictor is linear, W from `optimal_predictor` of a moving average of E[z·zᵀ] over both
    views, taken before each step; the loss is BYOL's. Each view is a batch of its own for
    BatchNorm.

    Encoder and projector are federated. Target and correlation are private, so each client has the
    predictor that its own examples ask for. The correlation forgets within a few steps.
    """

    class Config(MomentumObjective.Config):
        """The ``objective`` section of DirectPred."""

        name: Literal["directpred"] = "directpred"
        """BYOL with a linear predictor that is computed, not trained."""
        correlation_momentum: Number = Field(0.3, ge=0, lt=1)
        """ρ: share of itself that the correlation keeps at each step."""
        epsilon: Number = Field(0.01, gt=0)
        """ε: the predictor's least eigenvalue."""

    config: Config

    # With two examples the heads' BatchNorm gives ±1 whatever the weights, so nothing is learned.
    minimum_batch = 3
    private: ClassVar[tuple[str, ...]] = ("target", "correlation")
    correlation: Tensor

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        widths = [cast(int, encoder.features), *projector]
        self.projector = mlp(widths, last_norm="none")
        self.make_target()
        self.register_buffer("correlation", torch.zeros(widths[-1], widths[-1]))

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar in [0, 8]; the correlation moves."""
        z1, z2 = (self.projector(self.encoder(view)).float() for view in batch.views)
        with torch.no_grad():
            self._correlate(torch.cat([z1, z2]))
            predictor = optimal_predictor(self.correlation, self.config.epsilon)
            t1, t2 = (self.target(view) for view in batch.views)
        with torch.autocast(z1.device.type, enabled=False):
            p1, p2 = z1 @ predictor, z2 @ predictor
        return prediction_error(p1, t2) + prediction_error(p2, t1)

    def _correlate(self, z: Tensor) -> None:
        with torch.autocast(z.device.type, enabled=False):
            batch_correlation = z.T @ z / len(z)
        self.correlation.lerp_(batch_correlation, 1 - self.config.correlation_momentum)

    def start(self, generator: torch.Generator) -> None:
        """Set the target to the online network, and the correlation to nothing seen."""
        super().start(generator)
        self.correlation.zero_()
