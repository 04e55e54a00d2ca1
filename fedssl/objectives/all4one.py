"""All4One: NNCLR with the centroid of five neighbours besides the first, and decorrelation."""

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
from fedssl.objectives.base import ObjectiveConfig
from fedssl.objectives.batch import Batch
from fedssl.objectives.momentum import MomentumObjective
from fedssl.objectives.nnclr import nearest, neighbour_contrast
from fedssl.objectives.queue import Queue

NEIGHBOURS = 5
LAYERS = 3
HEADS = 8


def positions(count: int, width: int) -> Tensor:
    """Return sinusoidal encodings [count, width] of the places 0, 1, …

    Entry 2k of place p is sin(p / 10000^{2k/width}), entry 2k + 1 the cosine of the same. Source:
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.
    """
    pairs = torch.arange(0, width, 2) / width
    angles = torch.arange(count).unsqueeze(1) * torch.exp(-math.log(10_000) * pairs)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


class Centroid(nn.Module):
    """A small transformer that makes one vector of five, at the first one's place.

    Parameters
    ----------
    width : int
        The vectors' width D.
    """

    places: Tensor

    def __init__(self, width: int):
        super().__init__()
        # Without dropout, which would draw from the global generator.
        layer = nn.TransformerEncoderLayer(
            width, math.gcd(HEADS, width), 2 * width, dropout=0.0, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.register_buffer("places", positions(NEIGHBOURS, width), persistent=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return [B, D] of vectors [B, 5, D]."""
        rich: Tensor = self.layers(vectors + self.places)
        return rich[:, 0]


@in_float32
def feature_loss(first: Tensor, second: Tensor, target1: Tensor, target2: Tensor) -> Tensor:
    """Return ½·√mean (c_ii − 1)² + ½·√mean_{i≠j} c_ij² over both correlations c.

    c = tᵀ·z of a view's target t and the other view's projections z, whose columns have norm 1;
    there are two, one for each view's target.

    Parameters
    ----------
    first, second : Tensor
        [B, D] each: the projections of the two views.
    target1, target2 : Tensor
        [B, D] each: those of the target, into which no gradient flows.

    Source: Estepa et al., "All4One: Symbiotic Neighbour Contrastive Learning via Self-Attention
    and Redundancy Reduction", ICCV 2023, section 3.3.
    """
    z1, z2 = F.normalize(first, dim=0), F.normalize(second, dim=0)
    t1, t2 = (F.normalize(target.detach(), dim=0) for target in (target1, target2))
    correlations = torch.stack([t1.T @ z2, t2.T @ z1])
    diagonal = correlations.diagonal(dim1=1, dim2=2)
    width = diagonal.shape[1]
    others = correlations.square().sum() - diagonal.square().sum()
    off = others.clamp(min=0) / max(1, 2 * width * (width - 1))
    # The root's slope at zero is infinite.
    tiny = torch.finfo(off.dtype).eps ** 2
    return ((diagonal - 1).square().mean() + tiny).sqrt() / 2 + (off + tiny).sqrt() / 2


class All4One(MomentumObjective):
    """NNCLR for those who can afford it: five neighbours, their centroid, and decorrelation.

    ½·L_NN + ½·L_centroid + 5·L_feature. L_NN is NNCLR's, with neighbours of the target's
    projections. For L_centroid a transformer makes one vector of a view's five neighbours, and
    another of the other view's prediction followed by that view's first four; the two attract each
    other as in NNCLR. L_feature is `feature_loss`. Each view is a batch of its own for BatchNorm.

    Encoder, projector, both predictors and the transformer are federated. Target and queue are
    private: neighbours are always examples of the same client. The queue starts empty; then a view
    is its own neighbour.

    Source: Estepa et al., "All4One: Symbiotic Neighbour Contrastive Learning via Self-Attention
    and Redundancy Reduction", ICCV 2023; the weights are those of the authors' code.
    """

    class Config(MomentumObjective.Config):
        """The ``objective`` section of All4One."""

        name: Literal["all4one"] = "all4one"
        """Contrast with the nearest neighbours and their centroid, and decorrelate features."""
        temperature: Number = Field(0.2, gt=0)
        """τ of the contrast with the nearest neighbour."""
        centroid_temperature: Number = Field(0.1, gt=0)
        """τ of the contrast of centroids."""
        feature_weight: Number = Field(5.0, ge=0)
        """The weight of the features' decorrelation."""
        queue: PositiveInt = 4096
        """The most projections that a client keeps (98,304 in the paper)."""
        predictor_width: PositiveInt = 512
        """Width of the predictors' hidden layers (4096 in the paper)."""

    config: Config

    # With two examples the heads' BatchNorm gives ±1 whatever the weights, so nothing is learned.
    minimum_batch = 3
    private: ClassVar[tuple[str, ...]] = ("target", "queue")

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        widths = [cast(int, encoder.features), *projector]
        predictor = [widths[-1], self.config.predictor_width, widths[-1]]
        self.projector = mlp(widths, last_norm="affine")
        self.predictor = mlp(predictor, last_norm="none")
        self.centroid_predictor = mlp(predictor, last_norm="none")
        self.centroid = Centroid(widths[-1])
        self.make_target()
        self.queue = Queue(self.config.queue, widths[-1])
        self._newest: Tensor | None = None

    def chance_loss(self, batch: int) -> float:
        """Return log B + w/2, the loss where all projections are the same.

        Each of the four contrasts is log B, and w·½ the weight of features that all correlate.
        """
        return math.log(batch) + self.config.feature_weight / 2

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar."""
        z1, z2 = (self.projector(self.encoder(view)) for view in batch.views)
        with torch.no_grad():
            t1, t2 = (F.normalize(self.target(view).float(), dim=1) for view in batch.views)
        self._newest, queue = t1, self.queue.filled()
        near1, near2 = nearest(t1, queue, NEIGHBOURS), nearest(t2, queue, NEIGHBOURS)
        loss = self._contrast(near1, near2, z2) + self._contrast(near2, near1, z1)
        return loss / 4 + self.config.feature_weight * feature_loss(z1, z2, t1, t2)

    def _contrast(self, near: Tensor, other_near: Tensor, other: Tensor) -> Tensor:
        """Contrast a view's neighbours [B, 5, D] with the other view, [B, D], and its own."""
        predicted_centroid = self.centroid_predictor(other).unsqueeze(1)
        shifted = torch.cat([predicted_centroid, other_near[:, :-1]], dim=1)
        first = neighbour_contrast(near[:, 0], self.predictor(other), self.config.temperature)
        return first + neighbour_contrast(
            self.centroid(near), self.centroid(shifted), self.config.centroid_temperature
        )

    def start(self, generator: torch.Generator) -> None:
        """Set the target to the online network, and empty the queue."""
        super().start(generator)
        self.queue.clear()

    def after_step(self, progress: float) -> None:
        """Move the target, and put its projections of the first view into the queue."""
        super().after_step(progress)
        if self._newest is not None:
            self.queue.push(self._newest)
            self._newest = None
