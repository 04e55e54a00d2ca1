"""The config of the central evaluation."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt

from fedssl.data import Limit
from fedssl.evaluation.measures import MEASURES
from fedssl.fields import Fields, Listed, Number, nearest


def _of_a_round(name: str) -> str:
    rounds = [n for n, measure in MEASURES.items() if measure.of_a_round]
    if name not in MEASURES:
        raise ValueError(f"there is no such measure; {nearest(name, rounds)}")
    if name not in rounds:
        raise ValueError("is of whole runs, not of a round: use `fedssl probe` once it is finished")
    return name


class EvaluationConfig(Fields):
    """The ``evaluation`` section: the central evaluation of the frozen encoder."""

    every: PositiveInt = 1
    """Evaluate after each n-th round; the last round always is."""
    probe: Literal["linear"] = "linear"
    """The main measure: a linear classifier on the frozen features."""
    measures: Annotated[tuple[Annotated[str, AfterValidator(_of_a_round)], ...], Listed] = ()
    """Further measures of each evaluated round, such as [lidar, harm]; `fedssl probe --list`."""
    split: Literal["test", "validation"] = "test"
    """What to score on. validation: a fifth of each class of the labelled training examples, which
    no probe is fitted on; so fields can be tuned without a look at the test examples."""
    limit: Limit = Limit()
    """Use only so many of the examples that were loaded: to fit on, and to score on."""
    l2: Number = Field(1e-3, gt=0)
    """λ of the linear probe: mean cross-entropy + λ/2·‖weights‖², on standardised features."""
    knn_k: PositiveInt = 20
    """Neighbours that vote."""
    knn_temperature: Number = Field(0.07, gt=0)
    """T: a neighbour of cosine similarity s votes with weight e^(s/T)."""
    recalibrate_bn: bool = False
    """Report the linear probe with BatchNorm statistics measured anew on training examples, too."""
