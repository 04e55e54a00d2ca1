"""What figures are: their unit, and which way is better."""

from typing import Literal

from fedssl.base.fields import Fields


class MetricDescription(Fields):
    """What a figure of a round's row is; without any words a plain number."""

    unit: Literal["number", "share", "seconds", "bytes"] = "number"
    """A share is from 0 to 1, or a difference of two, and is shown in per cent."""
    better: Literal["higher", "lower", "neither"] = "neither"
    """Which way is better."""
    untrained: bool = False
    """Whether a run's summary has that of the untrained encoder, too."""


ACCURACY = MetricDescription(unit="share", better="higher", untrained=True)
"""The share of examples that are classified rightly."""

METRICS: dict[str, MetricDescription] = {}
"""What measures report, by the figure's name. A measure declares it in ``reports``."""
PLAIN = MetricDescription()
"""One of which neither way is better, as is one that nobody declares."""
