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
    """The ``objective`` section.

    Examples
    --------
    >>> class Config(ObjectiveConfig):  # nested in the objective's class
    ...     name: str = "my_module.Same"
    ...     weight: float = 1.0
    >>> config = Config(weight=0.5, terms=["e-ssl"])
    >>> config.weight, config.terms[0].name
    (0.5, 'e-ssl')
    """

    name: str
    """Which objective: a name that `fedssl list` prints, or a dotted path."""
    terms: Annotated[tuple[Annotated[TermConfig, TERMS.choice], ...], Listed] = ()
    """Terms that are added to the loss, such as [{name: e-ssl}]."""


class KeepingConfig(ObjectiveConfig):
    """The section of an objective with private state, which ages while its client is away."""

    on_return: Literal["keep", "resync"] = "keep"
    """After missed rounds a client keeps its private state, or starts it again from the model."""


class Objective(nn.Module, ABC):
    """A loss, with the encoder and all heads that it trains: the model of a run.

    Its modules ``encoder`` and ``projector``, and all other modules that ``private`` does not name,
    are federated: they come from the server and go back to it. Modules that ``private`` names stay
    on the client, which keeps them between its rounds, however many it misses.

    Parameters
    ----------
    encoder : nn.Module
        Maps prepared examples [B, …] to features [B, ``encoder.features``].
    projector : Sequence[int]
        The widths of the projector's layers; empty for no projector.
    config : ObjectiveConfig
        An instance of this class's ``Config``.

    Examples
    --------
    A sketch, without what would keep features from collapsing:

    >>> class Same(Objective):  # objective: {name: my_module.Same}
    ...     def __init__(self, encoder, projector, config):
    ...         super().__init__(encoder, projector, config)
    ...         self.encoder, self.projector = encoder, nn.Identity()
    ...
    ...     def forward(self, batch):
    ...         first, second = (self.projector(self.encoder(view)) for view in batch.views)
    ...         return (first - second).square().mean()
    >>> objective = Same(nn.Linear(3, 2), [], ObjectiveConfig(name="my_module.Same"))
    >>> view = torch.ones(4, 3)
    >>> objective.loss(Batch([view, view], index=torch.arange(4))).item()
    0.0
    """

    Config: ClassVar[type[ObjectiveConfig]] = ObjectiveConfig
    config: ObjectiveConfig
    number_of_views: int = 2
    """How many views of each example a batch has."""
    minimum_batch: int = 2
    """The smallest batch that can be trained on; smaller last batches are dropped."""
    private: ClassVar[tuple[str, ...]] = ()
    """The names of the submodules or tensors that never leave the client."""
    on_return: Literal["keep", "resync"] = "keep"
    """What a client does with its private state after missed rounds; set by `KeepingConfig`."""

    encoder: nn.Module
    projector: nn.Module
    terms: nn.ModuleList
    """The terms that `loss` adds to the objective's own loss."""

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__()
        self.config = config
        self.terms = nn.ModuleList()
        if isinstance(config, KeepingConfig):
            self.on_return = config.on_return

    @classmethod
    def check_fits(cls, encoder: nn.Module, modality: Modality) -> None:
        """Raise a ValueError if the encoder or the examples do not fit this objective."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar.

        Under ``client.precision: bf16`` it is called within `torch.autocast`; decorate a loss
        that needs more digits with `in_float32`.
        """

    @property
    def views_in_all(self) -> int:
        """The number of views of each example that `loss` needs, terms included."""
        return self.number_of_views + sum(term.extra_views for term in self._terms())

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch with all terms, a scalar: what a client minimises.

        The first views are for the objective, the others for its terms.
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
        """Raise a ValueError if training needs other labels than these, int64 [N]."""

    def resize(self, examples: int) -> None:
        """Give private tensors the shape that a client with this many examples needs.

        Called before a client's private state is loaded; a state of another shape is then refused.
        """

    def start(self, generator: torch.Generator) -> None:
        """Set the private state to its first value; ``generator`` is on the CPU.

        Called when a client takes part for the first time, or again where ``on_return`` is
        "resync"; the federated tensors are those of the global model by then.
        """

    def chance_loss(self, batch: int) -> float:
        """Return the loss of a constant encoder on a batch of this many examples; 0 if undefined.

        Losses of different batch sizes are compared by how far below it they are. It is called
        before each step, so it may depend on private state.
        """
        return 0.0

    def after_step(self, progress: float) -> None:
        """Called after each optimiser step; ``progress`` in [0, 1] is the share of rounds done."""


@contextmanager
def outputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the outputs of a module inside the ``with`` block."""
    outputs: list[Tensor] = []

    def collect(module: nn.Module, inputs: Any, output: Tensor) -> None:
        outputs.append(output)

    handle = module.register_forward_hook(collect)
    try:
        yield outputs
    finally:
        handle.remove()
