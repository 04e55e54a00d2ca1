"""BYOL: predict what a slow copy of the network makes of the other view."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.precision import in_float32
from fedssl.networks.heads import mlp
from fedssl.objectives.base import ObjectiveConfig
from fedssl.objectives.batch import Batch
from fedssl.objectives.momentum import MomentumObjective


@in_float32
def prediction_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return 2 − 2·cos(p, sg z), the mean over the batch; no gradient flows into the target.

    It is the squared distance of the two normalised vectors.

    Parameters
    ----------
    prediction, target : Tensor
        [B, D] each, of any norm.

    Source: Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, equation 2.

    Examples
    --------
    >>> prediction, target = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    >>> float(prediction_error(prediction, target))
    2.0
    """
    return 2 - 2 * F.cosine_similarity(prediction, target.detach(), dim=1).mean()


class BYOL(MomentumObjective):
    """Without negatives, so for small batches: predicts a slow copy that each client keeps.

    Each view predicts the target's projection of the other; the two errors are summed. Each view
    is a batch of its own. Encoder, projector and predictor are federated, the target is private:
    see `MomentumObjective`.
    """

    class Config(MomentumObjective.Config):
        """The ``objective`` section of BYOL."""

        name: Literal["byol"] = "byol"
        """Predict what a slowly moving copy of the network makes of the other view."""
        predictor_width: PositiveInt = 512
        """Width of the predictor's hidden layer (4096 in the paper, for ImageNet)."""

    config: Config

    # With two examples the heads' BatchNorm gives ±1 whatever the weights, so nothing is learned.
    minimum_batch = 3

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        widths = [cast(int, encoder.features), *projector]
        predictor = [widths[-1], self.config.predictor_width, widths[-1]]
        self.projector = mlp(widths, last_norm="none")
        self.predictor = mlp(predictor, last_norm="none")
        self.make_target()

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar in [0, 8]."""
        p1, p2 = (self.predictor(self.projector(self.encoder(view))) for view in batch.views)
        with torch.no_grad():
            z1, z2 = (self.target(view) for view in batch.views)
        return prediction_error(p1, z2) + prediction_error(p2, z1)
