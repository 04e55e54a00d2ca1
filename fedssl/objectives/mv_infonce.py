"""MV-InfoNCE: SimCLR for any number of views, with one term for each example."""

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


def alignment(unit: Tensor, temperature: float) -> Tensor:
    """Return log Σ_{l<l'} e^{u_l·u_l'/τ} over the pairs of views of each example.

    Parameters
    ----------
    unit : Tensor
        [V, B, D], normalised: V views of B examples.
    temperature : float
        τ > 0.

    Returns
    -------
    Tensor
        [B].
    """
    between = torch.einsum("lbd,mbd->lmb", unit, unit) / temperature
    same_view = torch.eye(len(unit), dtype=torch.bool, device=unit.device).unsqueeze(2)
    # Each pair is there twice.
    return between.masked_fill(same_view, -torch.inf).logsumexp((0, 1)) - math.log(2)


@in_float32
def mv_infonce(views: Tensor, temperature: float) -> Tensor:
    """Return −log( Σ_{l≠l'} e^{u_il·u_il'/τ} / Σ e^{u_il·u_jl'/τ} ), the mean over examples i.

    The lower sum runs over all pairs of a view of example i and another view in the batch, of any
    example j; both count a pair in both orders.

    Parameters
    ----------
    views : Tensor
        [V, B, D]: the projections of V ≥ 2 views, of any norm.
    temperature : float
        τ > 0.

    Source: Koromilas et al., "A Principled Framework for Multi-View Contrastive Learning", 2025,
    section IV.

    Examples
    --------
    >>> views = torch.eye(2).repeat(3, 1, 1)  # three equal views of two examples
    >>> round(float(mv_infonce(views, temperature=0.5)), 4)
    0.1848
    """
    unit = F.normalize(views, dim=2)
    count, examples, width = unit.shape
    flat = unit.reshape(-1, width)
    all_pairs = flat @ flat.T / temperature
    all_pairs.fill_diagonal_(-torch.inf)
    energy = all_pairs.view(count, examples, -1).logsumexp((0, 2))
    return (energy - alignment(unit, temperature) - math.log(2)).mean()


class MVInfoNCE(Objective):
    """Contrastive with many views: all views of an example attract each other in one term.

    All views go through the network as one batch, so BatchNorm sees V·B examples, and a step costs
    V/2 times one of SimCLR. Everything is federated.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of MV-InfoNCE."""

        name: Literal["mv-infonce"] = "mv-infonce"
        """Contrast all views of an example at once with all other examples of the batch."""
        temperature: Number = Field(0.5, gt=0)
        """τ: the lower, the more the nearest negatives count."""
        views: int = Field(4, ge=2)
        """V: how many views of each example are compared."""

    config: Config

    # With one example there is no negative.
    minimum_batch = 2

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder = encoder
        self.projector = mlp([cast(int, encoder.features), *projector], last_norm="none")
        self.number_of_views = self.config.views

    def chance_loss(self, batch: int) -> float:
        """Return log((VB − 1) / (V − 1)), the loss where all views are equally similar."""
        return math.log((self.number_of_views * batch - 1) / (self.number_of_views - 1))

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of views, a scalar."""
        z = self.projector(encode_views(self.encoder, batch.views))
        return mv_infonce(z.view(len(batch.views), -1, z.shape[1]), self.config.temperature)
