"""CACR: pull the farthest view of an example hardest, push the nearest other examples hardest."""

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
def cacr(views: Tensor, positive: float, negative: float) -> Tensor:
    """Return Σ_k softmax_k(t⁺·d²)·d² − Σ_j softmax_j(−t⁻·d²)·d², the mean over all queries.

    Every view of every example is a query in turn: k runs over the example's other views, j over
    the other examples in one other view, of which the mean is taken. d is the distance of the
    normalised projections. Gradients flow through the weights too.

    Parameters
    ----------
    views : Tensor
        [V, B, D]: the projections of V ≥ 2 views of B ≥ 2 examples, of any norm.
    positive, negative : float
        t⁺ and t⁻, at least 0; at 0 all weights are equal.

    Source: Zheng et al., "Contrastive Attraction and Contrastive Repulsion for Representation
    Learning", TMLR 2023, section 3.

    Examples
    --------
    >>> views = torch.eye(2).repeat(2, 1, 1)
    >>> float(cacr(views, positive=1.0, negative=2.0))
    -2.0
    """
    unit = F.normalize(views, dim=2)
    # l and m are views, i and j examples.
    distance = (2 - 2 * torch.einsum("lid,mjd->lmij", unit, unit)).clamp(min=0)
    count, examples = unit.shape[:2]
    same_view, same_example = (
        torch.eye(n, dtype=torch.bool, device=unit.device) for n in (count, examples)
    )
    same_example_distance = distance.diagonal(dim1=2, dim2=3)
    pull = (
        (positive * same_example_distance)
        .masked_fill(same_view.unsqueeze(2), -torch.inf)
        .softmax(1)
    )
    attraction = (pull * same_example_distance).sum(1).mean()
    push = (-negative * distance).masked_fill(same_example, -torch.inf).softmax(3)
    repulsion = (push * distance).sum(3).mean(2)[~same_view].mean()
    return attraction - repulsion


class CACR(Objective):
    """Contrastive where examples are uneven: hard positives and hard negatives count most.

    All views go through the network as one batch, so BatchNorm sees V·B examples, and a step costs
    V/2 times one of SimCLR. Everything is federated.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of CACR."""

        name: Literal["cacr"] = "cacr"
        """Attract the farthest views of an example most, repel the nearest other examples most."""
        positive: Number = Field(1.0, ge=0)
        """t⁺: the higher, the more the farthest of an example's views counts."""
        negative: Number = Field(0.9, ge=0)
        """t⁻: the higher, the more the nearest other example counts; 0.9 on CIFAR-10, 2 on -100."""
        views: int = Field(5, ge=2)
        """V: a query and its V − 1 positives."""

    config: Config

    # With one example there is no negative.
    minimum_batch = 2

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder = encoder
        self.projector = mlp([cast(int, encoder.features), *projector], last_norm="none")
        self.number_of_views = self.config.views

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of views, a scalar in [−4, 4]."""
        z = self.projector(encode_views(self.encoder, batch.views))
        views = z.view(len(batch.views), -1, z.shape[1])
        return cacr(views, self.config.positive, self.config.negative)
