"""DCL: SimCLR without the positive in the denominator."""

import math
from collections.abc import Sequence
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.networks.heads import mlp
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch, encode_views


@in_float32
def decoupled(
    first: Tensor, second: Tensor, temperature: float, sigma: float | None = None
) -> Tensor:
    """Return the decoupled contrastive loss, the mean over all 2B views.

    For view i with the other view j of its example, and the cosine similarity s,
    −w_i·s_ij/τ + log Σ_k e^{s_ik/τ} over the 2B − 2 views k of other examples.

    Parameters
    ----------
    first, second : Tensor
        [B, D] each: the projections of the two views, of any norm.
    temperature : float
        τ > 0.
    sigma : float | None
        None for w_i = 1 (DCL); else w_i = 2 − B·softmax_i(s_ij/σ) over the batch's B pairs
        (DCLW), through which no gradient flows: pairs that lie far apart count more.

    Source: Yeh et al., "Decoupled Contrastive Learning", ECCV 2022, equation 6.

    Examples
    --------
    >>> first, second = torch.eye(2), torch.eye(2)
    >>> round(float(decoupled(first, second, temperature=0.5)), 4)
    -1.3069
    """
    count = len(first)
    z = F.normalize(torch.cat([first, second]), dim=1)
    similarity = z @ z.T
    positive = similarity.diagonal(count)
    weight = 1.0 if sigma is None else 2 - count * (positive.detach() / sigma).softmax(0)
    same_example = torch.eye(count, dtype=torch.bool, device=z.device).repeat(2, 2)
    negatives = similarity.masked_fill(same_example, -torch.inf) / temperature
    return negatives.logsumexp(1).mean() - (weight * positive).mean() / temperature


class DCL(Objective):
    """SimCLR for smaller batches: a pair that is already close still pushes all others away.

    Both views go through the network as one batch, so BatchNorm sees 2B examples. Everything is
    federated.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of DCL."""

        name: Literal["dcl"] = "dcl"
        """Contrast as SimCLR does, with the positive left out of the denominator."""
        temperature: Number = Field(0.1, gt=0)
        """τ: the lower, the more the nearest negatives count."""

    config: Config

    # With one example there is no negative.
    minimum_batch = 2

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder = encoder
        self.projector = mlp([cast(int, encoder.features), *projector], last_norm="none")

    def chance_loss(self, batch: int) -> float:
        """Return log(2B − 2), the loss where all views are equally similar."""
        return math.log(2 * batch - 2)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar."""
        first, second = self.projector(encode_views(self.encoder, batch.views)).chunk(2)
        return decoupled(first, second, self.config.temperature)
