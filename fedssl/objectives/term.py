"""What is added to an objective's loss: a term, with a weight and modules of its own."""

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import ConfigDict, Field
from torch import Tensor, nn

from fedssl.base.fields import DottedPath, Fields, Number
from fedssl.modalities.base import Modality
from fedssl.objectives.batch import Batch


class TermConfig(Fields):
    """An entry of ``objective.terms``."""

    name: str
    """Which term: a name that `fedssl list` prints, or a dotted path."""
    begin: Number = Field(0.0, ge=0, lt=1)
    """The share of all rounds that is done before it counts; 0.9 for the last tenth alone."""


class CustomTermConfig(TermConfig):
    """A term of your own, by its dotted path; further fields go to its class."""

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """The dotted path."""


class Term(nn.Module, ABC):
    """What any objective's loss can be added to.

    Its modules are federated: they are made whether it counts yet or not.

    Parameters
    ----------
    config : TermConfig
        An instance of this class's ``Config``.
    objective : str
        The name of the objective that it is added to.
    features : int
        The width of the encoder's features.
    modality : Modality
        What the examples are; a ValueError says that they lack what the term needs.
    """

    Config: ClassVar[type[TermConfig]] = TermConfig
    config: TermConfig
    extra_views: ClassVar[int] = 0
    """How many views of each example it needs besides the objective's."""

    def __init__(self, config: TermConfig, objective: str, features: int, modality: Modality):
        super().__init__()
        self.config = config
        self.begin = config.begin

    @abstractmethod
    def forward(self, encoder: nn.Module, projections: Tensor, batch: Batch) -> Tensor:
        """Return what is added to the loss, a scalar.

        Parameters
        ----------
        encoder : nn.Module
            The objective's.
        projections : Tensor
            [V, B, D]: what the objective's projector gave, view by view.
        batch : Batch
            With the term's extra views alone.
        """
