"""Terms: what can be added to any objective's loss, with a weight and own modules."""

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
    """The share of all rounds after which the term is added; 0.9 for the last tenth."""


class CustomTermConfig(TermConfig):
    """A term of your own, by its dotted path; further fields go to its class."""

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """The dotted path."""


class Term(nn.Module, ABC):
    """A term that can be added to any objective's loss.

    Its modules are federated from the first round, also if the term is added later.

    Parameters
    ----------
    config : TermConfig
        An instance of this class's ``Config``.
    objective : str
        The name of the objective that it is added to.
    features : int
        The width of the encoder's features.
    modality : Modality
        The kind of examples; a ValueError if the term cannot be used with them.
    """

    Config: ClassVar[type[TermConfig]] = TermConfig
    config: TermConfig
    extra_views: ClassVar[int] = 0
    """The number of views of each example that it needs besides the objective's."""

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
            The objective's encoder.
        projections : Tensor
            [V, B, D]: the outputs of the objective's projector, view by view.
        batch : Batch
            The batch, with only the term's extra views.
        """
