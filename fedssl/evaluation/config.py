"""The config of the central evaluation."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt, field_serializer

from fedssl.base.fields import Fields, Listed, Number
from fedssl.data import Limit
from fedssl.evaluation.base import MeasureConfig
from fedssl.evaluation.measures import MEASURES, check_of_a_round


def _of_a_round(section: MeasureConfig) -> MeasureConfig:
    # One of a person's own is not imported to be looked at.
    if section.name in MEASURES:
        check_of_a_round(MEASURES[section.name])
    return section


class EvaluationConfig(Fields):
    """The ``evaluation`` section: the central evaluation of the frozen encoder.

    Examples
    --------
    >>> config = EvaluationConfig(every=5, measures=["lidar", "harm"], limit={"train": 500})
    >>> [section.name for section in config.measures], config.limit.test
    (['lidar', 'harm'], None)
    """

    every: PositiveInt = 1
    """Evaluate after each n-th round; the last round always is."""
    probe: Literal["linear"] = "linear"
    """The main measure: a linear classifier on the frozen features."""
    measures: Annotated[
        tuple[Annotated[MeasureConfig, MEASURES.choice, AfterValidator(_of_a_round)], ...], Listed
    ] = ()
    """Further measures of each evaluated round, such as [lidar, harm]; `fedssl probe --list`."""
    split: Literal["test", "validation"] = "test"
    """What to score on. validation: a fifth of each class of the labelled training examples, which
    no probe is fitted on; so fields can be tuned without the test examples."""
    limit: Limit = Limit()
    """Use only so many of the examples that were loaded: to fit on, and to score on."""
    l2: Number = Field(1e-3, gt=0)
    """λ of the linear probe: mean cross-entropy + λ/2·‖weights‖², on standardised features."""
    knn_k: PositiveInt = 20
    """Neighbours that vote."""
    knn_temperature: Number = Field(0.07, gt=0)
    """T: a neighbour of cosine similarity s votes with weight e^(s/T)."""
    recalibrate_bn: bool = False
    """Also report the linear probe with BatchNorm statistics re-estimated on training examples."""

    @field_serializer("measures")
    def _by_name(self, measures: tuple[MeasureConfig, ...]) -> list[str | dict[str, Any]]:
        """Write a measure that has no fields as its name alone."""
        sections = [section.model_dump(mode="json") for section in measures]
        return [section["name"] if len(section) == 1 else section for section in sections]
