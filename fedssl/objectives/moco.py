"""MoCo: tell an example's other view from the keys of a queue, made by a slow network."""

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
from fedssl.objectives.queue import Queue


@in_float32
def moco(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Return −log( e^{q·k⁺/τ} / (e^{q·k⁺/τ} + Σ_queue e^{q·k/τ}) ), the mean over the batch.

    All vectors are normalised here. Where the queue is empty the keys of the batch's other examples
    stand in for it, or a client's first step would have nothing to learn from.

    Parameters
    ----------
    query, key : Tensor
        [B, D] each: the one view's projections, and the target's projections of the other view,
        into which no gradient flows.
    queue : Tensor
        [n, D], n ≥ 0: earlier keys.
    temperature : float
        τ > 0.

    Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR
    2020, equation 1; head, temperature and views: Chen et al., "Improved Baselines with Momentum
    Contrastive Learning", 2020.
    """
    query, key = F.normalize(query, dim=1), F.normalize(key.detach(), dim=1)
    if len(queue) == 0:
        return F.cross_entropy(query @ key.T / temperature, torch.arange(len(key)).to(key.device))
    positive = (query * key).sum(1, keepdim=True)
    logits = torch.cat([positive, query @ F.normalize(queue, dim=1).T], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.int64, device=query.device))


class MoCo(MomentumObjective):
    """Contrastive with small batches: negatives come from a queue that each client keeps.

    The first view is the query; the second goes through the target, which makes its key. Each view
    is a batch of its own for BatchNorm.

    Encoder and projector are federated. Target and queue are private: the keys are those of the
    client's own examples, made by its own target. The queue starts empty. A queue of many more
    vectors than the client has examples holds several keys of each example, also of the query's.
    """

    class Config(MomentumObjective.Config):
        """The ``objective`` section of MoCo v2."""

        name: Literal["moco"] = "moco"
        """Contrast the two views of an example with a queue of the client's earlier keys."""
        temperature: Number = Field(0.2, gt=0)
        """τ: the lower, the more the nearest negatives count."""
        queue: PositiveInt = 4096
        """The most keys that a client keeps (65,536 in the paper, for all of ImageNet)."""
        momentum_schedule: Literal["cosine", "constant"] = "constant"
        """cosine: the momentum rises to 1 over all rounds; constant: it stays."""

    config: Config

    # With two examples the heads' BatchNorm gives ±1 whatever the weights, so nothing is learned.
    minimum_batch = 3
    private: ClassVar[tuple[str, ...]] = ("target", "queue")

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        widths = [cast(int, encoder.features), *projector]
        self.projector = mlp(widths, last_norm="none")
        self.make_target()
        self.queue = Queue(self.config.queue, widths[-1])
        self._keys: Tensor | None = None

    def chance_loss(self, batch: int) -> float:
        """Return log(1 + n), the loss where all n keys in the queue are as similar as the positive.

        It is log B while the queue is empty.
        """
        keys = len(self.queue.filled())
        return math.log(1 + keys if keys else batch)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar."""
        first, second = batch.views
        query = self.projector(self.encoder(first))
        with torch.no_grad():
            self._keys = F.normalize(self.target(second).float(), dim=1)
        return moco(query, self._keys, self.queue.filled(), self.config.temperature)

    def start(self, generator: torch.Generator) -> None:
        """Set the target to the online network, and empty the queue."""
        super().start(generator)
        self.queue.clear()

    def after_step(self, progress: float) -> None:
        """Move the target, and put the batch's keys into the queue."""
        super().after_step(progress)
        if self._keys is not None:
            self.queue.push(self._keys)
            self._keys = None
