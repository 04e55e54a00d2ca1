"""PAL: contrast along a graph of examples known to be akin, which an oracle helps to draw."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.networks.heads import mlp
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch, encode_views


@in_float32
def graph_contrast(first: Tensor, second: Tensor, akin: Tensor, temperature: float) -> Tensor:
    """Return −Σ_ij G_ij·log softmax_j(s_ij/τ) / Σ_ij G_ij over all 2B views.

    s is the cosine similarity, the softmax runs over all views but i itself. G is 1 for the other
    view of an example and for both views of each example that is akin to it, else 0; so with no two
    examples akin it is SimCLR's loss.

    Parameters
    ----------
    first, second : Tensor
        [B, D] each: the projections of the two views, of any norm.
    akin : Tensor
        bool [B, B], symmetric, true on the diagonal.
    temperature : float
        τ > 0.

    Source: Cabannes et al., "Active Self-Supervised Learning: A Few Low-Cost Relationships Are All
    You Need", ICCV 2023, section 3; divided by the number of relations.

    Examples
    --------
    >>> first, second = torch.eye(2), torch.eye(2)
    >>> akin = torch.eye(2, dtype=torch.bool)
    >>> round(float(graph_contrast(first, second, akin, temperature=0.5)), 4)
    0.2395
    """
    z = F.normalize(torch.cat([first, second]), dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    chances = (z @ z.T / temperature).masked_fill(itself, -torch.inf).log_softmax(1)
    related = akin.repeat(2, 2) & ~itself
    return -chances[related].mean()


class Relations(nn.Module):
    """The oracle's answers about a client's examples: private state.

    Akin examples form one group, so two answers may imply a third; and if one example of a group
    is not akin to an example of another, no pair of the two groups is. Questions whose answer
    follows from earlier ones are not asked.

    Parameters
    ----------
    budget : int
        How many questions may be asked in all.
    """

    group: Tensor
    different: Tensor
    asked: Tensor

    def __init__(self, budget: int):
        super().__init__()
        # int64 [n]: the group of each of the client's examples.
        self.register_buffer("group", torch.zeros(1, dtype=torch.int64))
        # int64 [budget, 2]: the pair of each question that was denied; −1 where it was not.
        self.register_buffer("different", torch.full((budget, 2), -1))
        self.register_buffer("asked", torch.zeros((), dtype=torch.int64))

    def resize(self, examples: int) -> None:
        """Set the number of examples."""
        if len(self.group) != examples:
            self.group = self.group.new_zeros(examples)

    def forget(self) -> None:
        """Delete all answers and restore the budget."""
        self.group.copy_(torch.arange(len(self.group)))
        self.different.fill_(-1)
        self.asked.zero_()

    def may_ask(self) -> bool:
        """Tell whether some of the budget is left."""
        return int(self.asked) < len(self.different)

    def among(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return which of the examples at ``index``, int64 [B], are known to be akin, or not to be.

        Returns
        -------
        tuple[Tensor, Tensor]
            bool [B, B] each, symmetric; the first is true on the diagonal.
        """
        groups = self.group[index]
        denied = self.different[self.different[:, 0] >= 0]
        one, other = (
            (groups[:, None] == self.group[side][None, :]).float() for side in denied.unbind(1)
        )
        apart = one @ other.T > 0
        return groups[:, None] == groups[None, :], apart | apart.T

    def learn(self, one: Tensor, other: Tensor, akin: Tensor) -> None:
        """Store the answer, a bool, to whether two of the client's examples, int64, are akin."""
        if bool(akin):
            self.group[self.group == self.group[other]] = self.group[one]
        else:
            self.different[self.asked] = torch.stack([one, other])
        self.asked += 1


class PAL(Objective):
    """SimCLR that may ask a few questions: are these two examples of a kind?

    With each step a client asks its oracle, here the examples' labels, about some pairs of the
    batch whose relation is not known yet, until its budget is spent: the pairs whose views are most
    alike ("active"), or any. Examples without a label are asked nothing about. The loss is
    `graph_contrast`. Both views go through the network as one batch.

    Encoder and projector are federated. What the oracle said is private, and kept however long the
    client is away; a client whose number of examples has changed is refused.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of PAL."""

        name: Literal["pal"] = "pal"
        """Contrast the groups of examples that an oracle, asked about pairs, calls akin."""
        temperature: Number = Field(0.5, gt=0)
        """τ: the lower, the more the nearest negatives count."""
        budget: NonNegativeInt = 100
        """The most pairs that a client asks about in the whole run."""
        questions: PositiveInt = 1
        """The most pairs that it asks about in a step."""
        query: Literal["active", "random"] = "active"
        """Which pairs: those whose views are most alike, or any."""

    config: Config

    # With one example there is no negative.
    minimum_batch = 2
    private: ClassVar[tuple[str, ...]] = ("relations",)

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder = encoder
        self.projector = mlp([cast(int, encoder.features), *projector], last_norm="none")
        self.relations = Relations(self.config.budget)

    def check(self, labels: Tensor) -> None:
        """Raise a ValueError where no example has a label, so that nothing can be asked."""
        if int(labels.max()) < 0:
            raise ValueError(
                "objective.name = pal: none of the training examples has a label to answer by"
            )

    def resize(self, examples: int) -> None:
        """Set the number of examples that relations are about."""
        self.relations.resize(examples)

    def start(self, generator: torch.Generator) -> None:
        """Delete all relations."""
        self.relations.forget()

    def chance_loss(self, batch: int) -> float:
        """Return log(2B − 1), the loss where all views are equally similar."""
        return math.log(2 * batch - 1)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar; what was asked before it counts."""
        first, second = self.projector(encode_views(self.encoder, batch.views)).chunk(2)
        if batch.labels is not None:
            self._ask(first, second, batch)
        akin, _ = self.relations.among(batch.index)
        return graph_contrast(first, second, akin, self.config.temperature)

    @torch.no_grad()
    def _ask(self, first: Tensor, second: Tensor, batch: Batch) -> None:
        labels = cast(Tensor, batch.labels)
        one, other = (F.normalize(z.float(), dim=1) for z in (first, second))
        alike = one @ other.T
        alike = alike + alike.T
        answerable = (labels >= 0)[:, None] & (labels >= 0)[None, :]
        for _ in range(self.config.questions):
            akin, apart = self.relations.among(batch.index)
            pairs = (answerable & ~akin & ~apart).triu().nonzero()
            if len(pairs) == 0 or not self.relations.may_ask():
                return
            if self.config.query == "active":
                chosen = int(alike[pairs[:, 0], pairs[:, 1]].argmax())
            else:
                chosen = int(torch.randint(len(pairs), (), generator=batch.generator))
            i, j = pairs[chosen]
            self.relations.learn(batch.index[i], batch.index[j], labels[i] == labels[j])
