"""NNCLR: the nearest neighbour of an example's view, among earlier ones, is its positive."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.networks.heads import mlp
from fedssl.objectives.base import KeepingConfig, Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch
from fedssl.objectives.queue import Queue


@in_float32
def neighbour_contrast(neighbour: Tensor, prediction: Tensor, temperature: float) -> Tensor:
    """Return −log( e^{n_i·p_i/τ} / Σ_k e^{n_i·p_k/τ} ), the mean over the batch.

    Parameters
    ----------
    neighbour : Tensor
        [B, D], of any norm: n_i stands for example i, seen in one view.
    prediction : Tensor
        [B, D], of any norm: p_i is made of the other view.
    temperature : float
        τ > 0.

    Source: Dwibedi et al., "With a Little Help from My Friends: Nearest-Neighbor Contrastive
    Learning of Visual Representations", ICCV 2021, equation 3.

    Examples
    --------
    >>> vectors = torch.eye(2)
    >>> round(float(neighbour_contrast(vectors, vectors, temperature=0.5)), 4)
    0.1269
    """
    logits = F.normalize(neighbour, dim=1) @ F.normalize(prediction, dim=1).T / temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


@torch.no_grad()
def nearest(vectors: Tensor, queue: Tensor, count: int = 1) -> Tensor:
    """Return the nearest neighbours of normalised vectors in a queue, nearest first.

    Parameters
    ----------
    vectors : Tensor
        [B, D].
    queue : Tensor
        [n, D], n ≥ 0.
    count : int
        How many.

    Returns
    -------
    Tensor
        [B, count, D]. Where the queue holds fewer, the farthest of them is repeated; where it
        holds none, a vector is its own neighbour.

    Examples
    --------
    >>> nearest(torch.tensor([[1.0, 0.0]]), torch.eye(2))
    tensor([[[1., 0.]]])
    """
    if len(queue) == 0:
        return vectors.unsqueeze(1).expand(-1, count, -1)
    indices = (vectors @ queue.T).topk(min(count, len(queue)), dim=1).indices
    missing = indices[:, -1:].expand(-1, count - indices.shape[1])
    return queue[torch.cat([indices, missing], dim=1)]


class NNCLR(Objective):
    """Contrastive beyond augmentations: the positive is another example that lies nearest.

    ½·(L(nn(z₁), p₂) + L(nn(z₂), p₁)): z₁ is a view's projection, nn(z₁) its nearest neighbour in a
    queue of earlier projections of first views, p₂ the prediction of the other view. No gradient
    flows through the neighbours. Each view is a batch of its own for BatchNorm.

    Encoder, projector and predictor are federated. The queue is private: neighbours are always
    examples of the same client, so a client of a few similar examples finds them quickly, and one
    of few examples finds itself. The queue starts empty; then a view is its own neighbour.
    """

    class Config(KeepingConfig):
        """The ``objective`` section of NNCLR."""

        name: Literal["nnclr"] = "nnclr"
        """Predict, of one view, the nearest neighbour of the other among the client's examples."""
        temperature: Number = Field(0.1, gt=0)
        """τ: the lower, the more the nearest negatives count."""
        queue: PositiveInt = 4096
        """The most projections that a client keeps (98,304 in the paper, for all of ImageNet)."""
        predictor_width: PositiveInt = 512
        """Width of the predictor's hidden layer (4096 in the paper, for ImageNet)."""

    config: Config

    # With two examples the heads' BatchNorm gives ±1 whatever the weights, so nothing is learned.
    minimum_batch = 3
    private: ClassVar[tuple[str, ...]] = ("queue",)

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        widths = [cast(int, encoder.features), *projector]
        self.encoder = encoder
        self.projector = mlp(widths, last_norm="affine")
        predictor = [widths[-1], self.config.predictor_width, widths[-1]]
        self.predictor = mlp(predictor, last_norm="none")
        self.queue = Queue(self.config.queue, widths[-1])
        self._newest: Tensor | None = None

    def chance_loss(self, batch: int) -> float:
        """Return log B, the loss where all examples are equally similar."""
        return math.log(batch)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar."""
        z1, z2 = (self.projector(self.encoder(view)) for view in batch.views)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        queue = self.queue.filled()
        unit1, unit2 = (F.normalize(z.detach().float(), dim=1) for z in (z1, z2))
        n1, n2 = (nearest(unit, queue).squeeze(1) for unit in (unit1, unit2))
        self._newest = unit1
        loss = neighbour_contrast(n1, p2, self.config.temperature)
        return (loss + neighbour_contrast(n2, p1, self.config.temperature)) / 2

    def start(self, generator: torch.Generator) -> None:
        """Empty the queue."""
        self.queue.clear()

    def after_step(self, progress: float) -> None:
        """Put the batch's projections of the first view into the queue."""
        if self._newest is not None:
            self.queue.push(self._newest)
            self._newest = None
