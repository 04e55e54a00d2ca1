"""Supervised learning: what labels are worth, and supervised federated learning."""

import math
from collections.abc import Sequence
from typing import Literal, cast

from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.precision import in_float32
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch

UNLABELLED = -1


@in_float32
def labelled_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy, the mean over the examples that have a label; 0 where none has.

    Parameters
    ----------
    logits : Tensor
        [B, classes].
    labels : Tensor
        int64 [B], −1 where unlabelled.

    Examples
    --------
    >>> import torch
    >>> logits, labels = torch.zeros(2, 4), torch.tensor([3, UNLABELLED])
    >>> round(float(labelled_cross_entropy(logits, labels)), 4)
    1.3863
    """
    total = F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
    return total / (labels != UNLABELLED).sum().clamp(min=1)


class Supervised(Objective):
    """Learns from labels: the upper reference for all others, and supervised federated learning.

    Cross-entropy of a linear classifier on the encoder's features; ``model.projector`` is not
    used. Examples without a label count for nothing. Everything is federated, the classifier too.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of supervised learning."""

        name: Literal["supervised"] = "supervised"
        """Learn to tell the classes apart from their labels."""
        classes: PositiveInt = 10
        """How many classes there are; labels are 0 to this less 1."""

    config: Config

    number_of_views = 1
    minimum_batch = 2

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder, self.projector = encoder, nn.Identity()
        self.classifier = nn.Linear(cast(int, encoder.features), self.config.classes)

    def check(self, labels: Tensor) -> None:
        """Raise a ValueError where no example has a label, or one is not below ``classes``."""
        greatest, classes = int(labels.max()), self.config.classes
        if greatest == UNLABELLED:
            raise ValueError(
                "objective.name = supervised: none of the training examples has a label"
            )
        if greatest >= classes:
            raise ValueError(
                f"objective.classes = {classes}: the training examples have labels up to "
                f"{greatest}; set it to {greatest + 1}"
            )

    def chance_loss(self, batch: int) -> float:
        """Return log C, the loss where all C classes are equally likely."""
        return math.log(self.config.classes)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of one view with labels, a scalar."""
        assert batch.labels is not None
        features = self.projector(self.encoder(batch.views[0]))
        return labelled_cross_entropy(self.classifier(features), batch.labels)
