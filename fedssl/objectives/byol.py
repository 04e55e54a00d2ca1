"""BYOL: predict what a slow copy of the network makes of the other view."""

import copy
import math
from collections.abc import Sequence
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.fields import Number
from fedssl.heads import mlp
from fedssl.objectives.base import Batch, Objective, ObjectiveConfig
from fedssl.precision import in_float32


@in_float32
def prediction_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return 2 − 2·cos(p, sg z), the mean over the batch; no gradient flows into the target.

    It is the squared distance of the two normalised vectors.

    Parameters
    ----------
    prediction, target : Tensor
        [B, D] each, of any norm.

    Source: Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, equation 2.
    """
    return 2 - 2 * F.cosine_similarity(prediction, target.detach(), dim=1).mean()


def momentum_at(base: float, progress: float) -> float:
    """Return the target's momentum: from ``base`` to 1 along half a cosine.

    Source: the same paper, section 3.3: 1 − (1 − base)·(cos(π·progress) + 1)/2.
    """
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2


class BYOL(Objective):
    """Without negatives, so for small batches: predicts a slow copy that each client keeps.

    Each view predicts the target's projection of the other; the two errors are summed. The target
    is an exponential moving average of encoder and projector. It belongs to the client: the online
    network comes from the server each round, the target is the client's own, set to the online
    network when the client first takes part.

    The average covers the parameters. In training the target's BatchNorm normalises by the
    statistics of its own batch, as in the paper, so its running statistics are read by nobody:
    they follow the target's own batches. Each view is a batch of its own.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of BYOL."""

        name: Literal["byol"] = "byol"
        """Predict what a slowly moving copy of the network makes of the other view."""
        momentum: Number = Field(0.99, ge=0, le=1)
        """Share of itself that the target keeps at each step; rises to 1 over all rounds."""
        predictor_width: PositiveInt = 512
        """Width of the predictor's hidden layer (4096 in the paper, for ImageNet)."""

    # With two images the heads' BatchNorm gives ±1 whatever the weights, so nothing is learned.
    minimum_batch: ClassVar[int] = 3
    private: ClassVar[tuple[str, ...]] = ("target",)

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        widths = [cast(int, encoder.features), *projector]
        own = cast(BYOL.Config, config)
        self.momentum = own.momentum
        self.encoder = encoder
        self.projector = mlp(widths, last_norm="none")
        self.predictor = mlp([widths[-1], own.predictor_width, widths[-1]], last_norm="none")
        self.target = copy.deepcopy(nn.Sequential(self.encoder, self.projector))
        self.target.requires_grad_(False)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar in [0, 8]."""
        p1, p2 = (self.predictor(self.projector(self.encoder(view))) for view in batch.views)
        with torch.no_grad():
            z1, z2 = (self.target(view) for view in batch.views)
        return prediction_error(p1, z2) + prediction_error(p2, z1)

    @torch.no_grad()
    def start(self) -> None:
        """Set the target to the online network: parameters and running statistics."""
        online = nn.Sequential(self.encoder, self.projector)
        self.target.load_state_dict(online.state_dict())

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the target's parameters towards the online network's."""
        share = 1 - momentum_at(self.momentum, progress)
        online = nn.Sequential(self.encoder, self.projector)
        for target, source in zip(self.target.parameters(), online.parameters(), strict=True):
            target.lerp_(source, share)
