"""DINO: agree with a slow copy on a distribution over prototypes."""

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


class Prototypes(nn.Module):
    """The cosine of a projection with each of K prototypes: a linear layer of unit weights.

    Parameters
    ----------
    width : int
        The projection's width D.
    count : int
        K.
    """

    def __init__(self, width: int, count: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, width))

    def forward(self, projections: Tensor) -> Tensor:
        """Return cosines [B, K] in [−1, 1] of projections [B, D]."""
        return F.linear(F.normalize(projections, dim=1), F.normalize(self.weight, dim=1))


@in_float32
def dino(
    teacher: Tensor, student: Tensor, centre: Tensor, teacher_temperature: float, temperature: float
) -> Tensor:
    """Return the cross-entropy H(softmax((t − c)/τ_t), softmax(s/τ)), the mean over the batch.

    It is also the mean over all pairs of a teacher's view and another view of the student's. No
    gradient flows into the teacher.

    Parameters
    ----------
    teacher : Tensor
        [T, B, K]: what the teacher says of the first T views.
    student : Tensor
        [V, B, K], V ≥ T: what the student says of all views, in the same order; V ≥ 2.
    centre : Tensor
        [K]: c.
    teacher_temperature, temperature : float
        τ_t and τ, above 0.

    Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021,
    equations 1 to 3.

    Examples
    --------
    >>> views = torch.zeros(2, 1, 4)  # two views of one example, four prototypes
    >>> round(float(dino(views, views, torch.zeros(4), 0.07, 0.1)), 4)
    1.3863
    """
    target = ((teacher.detach() - centre) / teacher_temperature).softmax(2)
    # t and s are views, b examples, k prototypes.
    each = -torch.einsum("tbk,sbk->ts", target, (student / temperature).log_softmax(2))
    pairs = each.numel() - len(teacher)
    return (each.sum() - each.diagonal().sum()) / (pairs * student.shape[1])


class DINO(MomentumObjective):
    """Clusters without negatives, made for transformers: agrees with a slow copy on prototypes.

    The teacher, a moving average, sees the first two views, the student all of them. Each view is
    a batch of its own for BatchNorm. The teacher's answers are centred, so that no prototype takes
    all examples, and sharpened by a temperature that rises over the first rounds.

    Encoder, projector and prototypes are federated. The teacher (``target``), prototypes included,
    and the centre are private: a client of few classes centres what its own examples have in
    common.
    """

    class Config(MomentumObjective.Config):
        """The ``objective`` section of DINO."""

        name: Literal["dino"] = "dino"
        """Agree with a slowly moving copy on how near each example is to each prototype."""
        prototypes: PositiveInt = 4096
        """K (65,536 in the paper, for ImageNet)."""
        temperature: Number = Field(0.1, gt=0)
        """τ of the student."""
        teacher_temperature: Number = Field(0.07, gt=0)
        """τ_t of the teacher, after the warm-up."""
        teacher_temperature_start: Number = Field(0.04, gt=0)
        """τ_t in the first round, from which it rises linearly."""
        teacher_warmup: Number = Field(0.3, ge=0, le=1)
        """The share of all rounds over which it rises."""
        centre_momentum: Number = Field(0.9, ge=0, lt=1)
        """Share of itself that the centre keeps at each step."""
        momentum: Number = Field(0.996, ge=0, le=1)
        """Share of itself that the teacher keeps at each step."""
        views: int = Field(2, ge=2)
        """How many views of each example the student sees."""

    config: Config

    # With two examples the heads' BatchNorm gives ±1 whatever the weights, so nothing is learned.
    minimum_batch = 3
    private: ClassVar[tuple[str, ...]] = ("target", "centre")
    centre: Tensor

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        widths = [cast(int, encoder.features), *projector]
        self.number_of_views = self.config.views
        self.projector = mlp(widths, last_norm="none")
        self.prototypes = Prototypes(widths[-1], self.config.prototypes)
        self.make_target()
        self.register_buffer("centre", torch.zeros(self.config.prototypes))

    def online(self) -> nn.Sequential:
        """Return the student."""
        return nn.Sequential(self.encoder, self.projector, self.prototypes)

    def teacher_temperature_at(self, progress: float) -> float:
        """Return τ_t at a share of all rounds."""
        start, end = self.config.teacher_temperature_start, self.config.teacher_temperature
        warmup = self.config.teacher_warmup
        return end if progress >= warmup else start + (end - start) * progress / warmup

    def chance_loss(self, batch: int) -> float:
        """Return log K, the loss where the student finds all prototypes equally near."""
        return math.log(self.config.prototypes)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of views, a scalar; the centre moves."""
        student = torch.stack(
            [self.prototypes(self.projector(self.encoder(view))) for view in batch.views]
        )
        with torch.no_grad():
            teacher = torch.stack([self.target(view) for view in batch.views[:2]])
        now = self.teacher_temperature_at(batch.progress)
        loss = dino(teacher, student, self.centre, now, self.config.temperature)
        with torch.no_grad():
            mean = teacher.float().mean((0, 1))
            self.centre.lerp_(mean, 1 - self.config.centre_momentum)
        return loss

    def start(self, generator: torch.Generator) -> None:
        """Set the teacher to the student, and the centre to zero."""
        super().start(generator)
        self.centre.zero_()
