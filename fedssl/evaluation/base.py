"""What every measure is."""

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import ConfigDict

from fedssl.evaluation.subject import Measured, Subject
from fedssl.fields import Dotted, Fields


class MeasureConfig(Fields):
    """One of ``evaluation.measures``."""

    name: str
    """Which measure: a name that `fedssl probe --list` prints, or a dotted path."""


class CustomMeasureConfig(MeasureConfig):
    """A measure of your own, by its dotted path; further fields are those of its ``Config``."""

    model_config = ConfigDict(extra="allow")

    name: Dotted
    """The dotted path."""


class Measure(ABC):
    """What a frozen encoder is worth, by one measure."""

    Config: ClassVar[type[MeasureConfig]] = MeasureConfig
    config: MeasureConfig
    labels: ClassVar[bool] = True
    """Whether it needs labelled training and test examples."""
    of_a_round: ClassVar[bool] = True
    """Whether a round can be measured so; else it wants whole runs."""

    def __init__(self, config: MeasureConfig):
        self.config = config

    @abstractmethod
    def measure(self, subject: Subject) -> Measured:
        """Compute the measure, in one thread and from the subject's draws alone.

        Raises
        ------
        ValueError
            It cannot be done; the message says why.
        """
