"""SimSiam: predict one view's projection from the other's, with nothing but a stop-gradient."""

from collections.abc import Sequence
from typing import Literal, cast

from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.precision import in_float32
from fedssl.networks.heads import mlp
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch


@in_float32
def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """Return −cos(p, sg z), the mean over the batch; no gradient flows into the target.

    Parameters
    ----------
    prediction, target : Tensor
        [B, D] each, of any norm.

    Source: Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021,
    equations 1 and 3.

    Examples
    --------
    >>> import torch
    >>> prediction, target = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]])
    >>> round(float(negative_cosine(prediction, target)), 4)
    -0.6
    """
    return -F.cosine_similarity(prediction, target.detach(), dim=1).mean()


class SimSiam(Objective):
    """The lightest without negatives: BYOL without its copy, so clients keep nothing.

    Each view predicts the other's projection: ½(−cos(p₁, sg z₂)) + ½(−cos(p₂, sg z₁)). Each view is
    a batch of its own for BatchNorm. The projector ends in a BatchNorm without scale and shift, as
    published. Everything is federated.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of SimSiam."""

        name: Literal["simsiam"] = "simsiam"
        """Predict one view from the other, with a stop-gradient; no negatives, no target."""
        predictor_width: PositiveInt = 512
        """Width of the predictor's hidden layer; in the paper a quarter of the projector's."""

    config: Config

    # With two examples the heads' BatchNorm gives ±1 whatever the weights, so nothing is learned.
    minimum_batch = 3

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        widths = [cast(int, encoder.features), *projector]
        predictor = [widths[-1], self.config.predictor_width, widths[-1]]
        self.encoder = encoder
        self.projector = mlp(widths, last_norm="plain")
        self.predictor = mlp(predictor, last_norm="none")

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar in [−1, 1]."""
        z1, z2 = (self.projector(self.encoder(view)) for view in batch.views)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return (negative_cosine(p1, z2) + negative_cosine(p2, z1)) / 2
