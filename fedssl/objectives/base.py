"""The base class of objectives.

An objective is one torch module that holds a whole model: the encoder, the projector, all other
heads and copies, and the loss that trains them. So ``objective`` is also what is saved, transmitted
and evaluated.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from fedssl.base.fields import Fields, Listed
from fedssl.modalities.base import Modality
from fedssl.objectives.batch import Batch
from fedssl.objectives.term import Term, TermConfig
from fedssl.objectives.terms import TERMS


class ObjectiveConfig(Fields):
    """The ``objective`` section."""

    name: str
    """Which objective: a name that `fedssl list` prints, or a dotted path."""
    terms: Annotated[tuple[Annotated[TermConfig, TERMS.choice], ...], Listed] = ()
    """What is added to its loss, such as [{name: e-ssl}]."""


class KeepingConfig(ObjectiveConfig):
    """The section of an objective whose private state grows stale while its client is away."""

    on_return: Literal["keep", "resync"] = "keep"
    """A client that missed a round or more goes on with what it kept, or starts it anew."""


class Objective(nn.Module, ABC):
    """A loss, with the encoder and every head that it trains.

    Its modules ``encoder`` and ``projector``, and all else that is not named in ``private``, are
    federated: they come from the server and go back to it. What ``private`` names stays on the
    client, which keeps it from one of its rounds to the next, however many it misses in between.

    Parameters
    ----------
    encoder : nn.Module
        Maps prepared examples [B, …] to features [B, ``encoder.features``].
    projector : Sequence[int]
        The widths of the projector's layers; empty for none.
    config : ObjectiveConfig
        An instance of this class's ``Config``.
    """

    Config: ClassVar[type[ObjectiveConfig]] = ObjectiveConfig
    config: ObjectiveConfig
    number_of_views: int = 2
    """How many views of each example a batch has."""
    minimum_batch: int = 2
    """The fewest examples a step makes sense with; smaller last batches are dropped."""
    private: ClassVar[tuple[str, ...]] = ()
    """The names of the submodules or tensors that never leave the client."""
    on_return: Literal["keep", "resync"] = "keep"
    """What a client does with its private state after rounds that it missed; by `KeepingConfig`."""

    encoder: nn.Module
    projector: nn.Module
    terms: nn.ModuleList
    """What `loss` adds to the objective's own."""

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__()
        self.config = config
        self.terms = nn.ModuleList()
        if isinstance(config, KeepingConfig):
            self.on_return = config.on_return

    @classmethod
    def check_fits(cls, encoder: nn.Module, modality: Modality) -> None:
        """Raise a ValueError where it needs what the encoder or the examples cannot do."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar.

        Under ``client.precision: bf16`` it is called within `torch.autocast`: `in_float32` keeps a
        loss that wants more digits out of it.
        """

    @property
    def views_in_all(self) -> int:
        """How many views of each example `loss` takes."""
        return self.number_of_views + sum(term.extra_views for term in self._terms())

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch with all terms, a scalar: what a client minimises.

        The first views are the objective's own, the others those that its terms ask for.
        """
        if not self.terms:
            return cast(Tensor, self(batch))
        first = self.number_of_views
        with outputs_of(self.projector) as projected:
            total: Tensor = self(replace(batch, views=batch.views[:first]))
        # Some objectives project all views at once, some one after the other.
        views = [part for each in projected for part in torch.split(each, len(batch.index))]
        projections = torch.stack(views) if views else batch.views[0].new_empty(0)
        for term in self._terms():
            last = first + term.extra_views
            if batch.progress >= term.begin:
                part = replace(batch, views=batch.views[first:last])
                total = total + term(self.encoder, projections, part)
            first = last
        return total

    def _terms(self) -> list[Term]:
        return cast(list[Term], list(self.terms))

    def check(self, labels: Tensor) -> None:
        """Raise a ValueError where examples with these labels, int64 [N], cannot be trained on."""

    def resize(self, examples: int) -> None:
        """Give private tensors the shape that a client with so many examples needs.

        Called before a client's private state is taken up; a kept state of another shape is then
        refused.
        """

    def start(self, draws: torch.Generator) -> None:
        """Set the private state anew, drawing from ``draws``, on the CPU.

        Called when a client takes part for the first time, or again where ``on_return`` is
        "resync"; the federated tensors are those of the global model by then.
        """

    def chance_loss(self, batch: int) -> float:
        """Return the loss on so many examples of an encoder that tells nothing apart.

        Losses of different batch sizes are compared by how far below it they are. It is asked for
        before each step, so it may go by what is private. 0 where there is no such loss.
        """
        return 0.0

    def after_step(self, progress: float) -> None:
        """Act after an optimiser step; ``progress`` in [0, 1] is the share of all rounds done."""


@contextmanager
def outputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a module returns meanwhile."""
    outputs: list[Tensor] = []

    def collect(module: nn.Module, inputs: Any, output: Tensor) -> None:
        outputs.append(output)

    handle = module.register_forward_hook(collect)
    try:
        yield outputs
    finally:
        handle.remove()
