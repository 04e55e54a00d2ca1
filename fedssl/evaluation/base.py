"""The base class of measures."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ConfigDict

from fedssl.base.fields import DottedPath, Fields
from fedssl.evaluation.metrics import METRICS, MetricDescription
from fedssl.evaluation.subject import MeasureResult, Subject


class MeasureConfig(Fields):
    """One of ``evaluation.measures``.

    Examples
    --------
    >>> class Config(MeasureConfig):  # nested in the measure's class
    ...     name: str = "my_module.Brightness"
    ...     scale: float = 1.0  # evaluation: {measures: [{name: my_module.Brightness, scale: 2}]}
    >>> Config(scale=2).scale
    2.0
    """

    name: str
    """Which measure: a name that `fedssl probe --list` prints, or a dotted path."""


class CustomMeasureConfig(MeasureConfig):
    """A measure of your own, by its dotted path; further fields are those of its ``Config``."""

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """The dotted path."""


class Measure(ABC):
    """A measure of the quality of a frozen encoder.

    Examples
    --------
    >>> class Width(Measure):  # evaluation: {measures: [my_module.Width]}
    ...     labels = False
    ...     reports = {"width": MetricDescription(better="higher")}
    ...
    ...     def measure(self, subject):
    ...         return MeasureResult({"width": float(subject.test_features.shape[1])})
    >>> Width(MeasureConfig(name="my_module.Width")).of_a_round
    True
    """

    Config: ClassVar[type[MeasureConfig]] = MeasureConfig
    config: MeasureConfig
    labels: ClassVar[bool] = True
    """Whether it needs labelled training and test examples."""
    of_a_round: ClassVar[bool] = True
    """Whether it can measure a single round; otherwise it needs whole runs."""
    reports: ClassVar[Mapping[str, MetricDescription]] = {}
    """Descriptions of its figures by name; a figure without one is a plain number."""

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        for name, description in cls.reports.items():
            if not isinstance(description, MetricDescription):
                raise ValueError(
                    f"{cls.__module__}.{cls.__qualname__}: reports[{name!r}] = {description!r}: "
                    "must be a fedssl.evaluation.MetricDescription"
                )
            # fedssl's own are imported first, so nothing changes what theirs are.
            METRICS.setdefault(name, description)

    def __init__(self, config: MeasureConfig):
        self.config = config

    @abstractmethod
    def measure(self, subject: Subject) -> MeasureResult:
        """Compute the measure, in one thread and with the subject's generators alone.

        Raises
        ------
        ValueError
            The measure cannot be computed; the message says why.
        """
