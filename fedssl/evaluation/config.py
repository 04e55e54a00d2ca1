"""The config of the central evaluation."""

from typing import Literal

from pydantic import Field, PositiveInt

from fedssl.data import Limit
from fedssl.fields import Fields, Number


class EvaluationConfig(Fields):
    """The ``evaluation`` section: the central evaluation of the frozen encoder."""

    every: PositiveInt = 1
    """Evaluate after each n-th round; the last round always is."""
    probe: Literal["linear"] = "linear"
    """The main measure: a linear classifier on the frozen features."""
    split: Literal["test", "validation"] = "test"
    """What to score on. validation: a fifth of each class of the labelled training images, which no
    probe is fitted on; so fields can be tuned without a look at the test images."""
    limit: Limit = Limit()
    """Use only so many of the images that were loaded: to fit on, and to score on."""
    l2: Number = Field(1e-3, gt=0)
    """λ of the linear probe: mean cross-entropy + λ/2·‖weights‖², on standardised features."""
    knn_k: PositiveInt = 20
    """Neighbours that vote."""
    knn_temperature: Number = Field(0.07, gt=0)
    """T: a neighbour of cosine similarity s votes with weight e^(s/T)."""
    recalibrate_bn: bool = False
    """Report the linear probe with BatchNorm statistics measured anew on training images, too."""
