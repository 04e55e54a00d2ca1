"""MV-DHEL: any number of views attract each other; each repels others' views of its kind."""

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
from fedssl.objectives.mv_infonce import alignment


@in_float32
def mv_dhel(views: Tensor, temperature: float) -> Tensor:
    """Return −log Σ_{l<l'} e^{u_il·u_il'/τ} + Σ_l log Σ_{j≠i} e^{u_il·u_jl/τ}, the mean over i.

    Parameters
    ----------
    views : Tensor
        [V, B, D]: the projections of V ≥ 2 views of B ≥ 2 examples, of any norm.
    temperature : float
        τ > 0.

    Source: Koromilas et al., "A Principled Framework for Multi-View Contrastive Learning", 2025,
    section IV.

    Examples
    --------
    >>> views = torch.eye(2).repeat(3, 1, 1)  # three equal views of two examples
    >>> round(float(mv_dhel(views, temperature=0.5)), 4)
    -3.0986
    """
    unit = F.normalize(views, dim=2)
    within = unit @ unit.transpose(1, 2) / temperature
    self_pair = torch.eye(unit.shape[1], dtype=torch.bool, device=unit.device)
    uniformity = within.masked_fill(self_pair, -torch.inf).logsumexp(2).sum(0)
    return (uniformity - alignment(unit, temperature)).mean()


class MVDHEL(Objective):
    """Like MV-InfoNCE with attraction and repulsion apart: the better the more views there are.

    All views go through the network as one batch, so BatchNorm sees V·B examples, and a step costs
    V/2 times one of SimCLR. Everything is federated.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of MV-DHEL."""

        name: Literal["mv-dhel"] = "mv-dhel"
        """Attract all views of an example at once, repel other examples view by view."""
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
        """Return V·log(B − 1) − log(V(V − 1)/2), the loss where all similarities are zero.

        Unlike others' it depends on how similar all views are, not only on that they are equally.
        """
        count = self.number_of_views
        return count * math.log(batch - 1) - math.log(count * (count - 1) / 2)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of views, a scalar."""
        z = self.projector(encode_views(self.encoder, batch.views))
        return mv_dhel(z.view(len(batch.views), -1, z.shape[1]), self.config.temperature)
