"""DIET: each example is a class of its own."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch


@in_float32
def diet(features: Tensor, head: Tensor, index: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy of W·f against the example's index, the mean over the batch.

    The target is 1 − s + s/n at the index, and s/n at all others.

    Parameters
    ----------
    features : Tensor
        [B, D].
    head : Tensor
        [n, D]: W, a row for each of the client's examples.
    index : Tensor
        int64 [B], in [0, n).
    smoothing : float
        s in [0, 1).

    Source: Ibrahim, Klindt and Balestriero, "Occam's Razor for Self Supervised Learning: What is
    Sufficient to Learn Good Representations?", 2024.

    Examples
    --------
    >>> features, head = torch.zeros(2, 3), torch.zeros(4, 3)
    >>> round(float(diet(features, head, torch.tensor([0, 3]), smoothing=0.8)), 4)
    1.3863
    """
    return F.cross_entropy(features @ head.T, index, label_smoothing=smoothing)


class DIET(Objective):
    """The simplest, for clients of few examples: tells each example from all others by its index.

    One view, no projector (``model.projector`` is not used), no negatives beyond the head. Wants
    AdamW at a learning rate of about 0.001 (``client.optimizer``), and many rounds.

    The encoder is federated. The head is private: a row for each example of the client, so it never
    leaves the client, and says nothing to another. It is drawn when the client first takes part,
    and always kept, since nothing in it can be had from the global model; a client whose number of
    examples has changed is refused.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of DIET."""

        name: Literal["diet"] = "diet"
        """Tell each example of a client from all its others."""
        label_smoothing: Number = Field(0.8, ge=0, lt=1)
        """s: the share of the target that all examples have in common."""

    config: Config

    number_of_views = 1
    minimum_batch = 2
    private: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder, self.projector = encoder, nn.Identity()
        # A row for each example, once it is known how many the client has.
        self.head = nn.Parameter(torch.zeros(1, cast(int, encoder.features)))

    def resize(self, examples: int) -> None:
        """Give the head a row for each example."""
        if len(self.head) != examples:
            self.head.data = self.head.new_zeros(examples, self.head.shape[1])

    @torch.no_grad()
    def start(self, generator: torch.Generator) -> None:
        """Draw the head anew, uniformly in ±1/√D as a linear layer's."""
        uniform = torch.rand(self.head.shape, generator=generator)
        self.head.copy_((2 * uniform - 1) / self.head.shape[1] ** 0.5)

    def chance_loss(self, batch: int) -> float:
        """Return log n, the loss where all of the client's n examples are equally likely."""
        return math.log(len(self.head))

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of one view, a scalar."""
        features = self.projector(self.encoder(batch.views[0]))
        return diet(features, self.head, batch.index, self.config.label_smoothing)
