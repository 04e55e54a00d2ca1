"""W-MSE: bring views together after whitening, which alone keeps them from collapsing."""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal, cast

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.precision import in_float32
from fedssl.networks.heads import mlp
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch, encode_views

SHRINKAGE = 1e-5
"""Share of the mean variance that is added to each: a covariance without full rank has no root."""

TINY = 1e-12
"""A variance added to all, for features that do not vary at all."""


def whiten(features: Tensor) -> Tensor:
    """Give features [N, D], N > D, mean 0 and the identity as covariance (dividing by N − 1).

    W·(x − mean) with W = L⁻¹, L the Cholesky factor of the covariance.
    """
    count, width = features.shape
    centred = features - features.mean(0)
    covariance = centred.T @ centred / (count - 1)
    least = SHRINKAGE * covariance.diagonal().mean() + TINY
    # Without a check: weights that are not finite shall give such a loss, which is explained.
    factor, _ = torch.linalg.cholesky_ex(covariance + least * torch.eye(width).to(covariance))
    white: Tensor = torch.linalg.solve_triangular(factor, centred.T, upper=False)
    return white.T


@in_float32
def w_mse(views: Tensor, order: Tensor, sub_batch: int) -> Tensor:
    """Return the mean, over examples and pairs of views, of 2 − 2·cos of the whitened projections.

    Parameters
    ----------
    views : Tensor
        [V, B, D]: the projections of V ≥ 2 views, not normalised.
    order : Tensor
        int64 [B]: a permutation of the examples, which shares them out to sub-batches, the same for
        all views. Each view's part of a sub-batch is whitened by itself.
    sub_batch : int
        The fewest examples in a sub-batch; where B is not a multiple of it, some have more.

    Source: Ermolov et al., "Whitening for Self-Supervised Representation Learning", ICML 2021,
    section 3.

    Examples
    --------
    >>> views = torch.tensor([[1.0], [-1.0], [2.0], [-2.0]]).repeat(2, 1, 1)
    >>> abs(round(float(w_mse(views, torch.arange(4), sub_batch=2)), 4))
    0.0
    """
    parts = torch.tensor_split(order, max(1, len(order) // sub_batch))
    white = [torch.cat([whiten(view[rows]) for rows in parts]) for view in views]
    pairs = [F.cosine_similarity(a, b, dim=1).mean() for a, b in combinations(white, 2)]
    return 2 - 2 * torch.stack(pairs).mean()


class WMSE(Objective):
    """Without negatives, copy or weights to tune: whitening spreads the features; large batches.

    All views go through the network as one batch. Whitening D features needs sub-batches of more
    than D examples, so a client with fewer cannot take part: use a narrow projector (64 in the
    paper). Everything is federated.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of W-MSE."""

        name: Literal["w-mse"] = "w-mse"
        """Bring the whitened projections of an example's views together."""
        sub_batch: PositiveInt | None = None
        """Examples whitened together, more than the projector's width; null is twice that."""
        views: int = Field(2, ge=2)
        """How many views of each example are compared."""

    config: Config

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        widths = [cast(int, encoder.features), *projector]
        self.encoder = encoder
        self.projector = mlp(widths, last_norm="none")
        self.number_of_views = self.config.views
        self.minimum_batch = self.config.sub_batch or 2 * widths[-1]
        if self.minimum_batch <= widths[-1]:
            raise ValueError(
                f"objective.sub_batch = {self.minimum_batch}: must be more than the projector's "
                f"width, {widths[-1]}, or there is no whitening"
            )

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of views, a scalar in [0, 4]."""
        order = torch.randperm(len(batch.views[0]), generator=batch.generator)
        z = self.projector(encode_views(self.encoder, batch.views))
        stacked = z.view(len(batch.views), -1, z.shape[1])
        return w_mse(stacked, order.to(z.device), self.minimum_batch)
