"""Descriptions of metrics: their unit, and whether higher or lower is better."""

from typing import Literal

from fedssl.base.fields import Fields


class MetricDescription(Fields):
    """The description of a metric of a round; by default a plain number.

    Examples
    --------
    >>> MetricDescription(unit="share", better="higher")
    MetricDescription(unit='share', better='higher', untrained=False)
    """

    unit: Literal["number", "share", "seconds", "bytes"] = "number"
    """A share is from 0 to 1, or a difference of two, and is shown in per cent."""
    better: Literal["higher", "lower", "neither"] = "neither"
    """Whether higher or lower values are better."""
    untrained: bool = False
    """Whether a run's summary also shows the value of the untrained encoder."""


ACCURACY = MetricDescription(unit="share", better="higher", untrained=True)
"""The share of correctly classified examples."""

METRICS: dict[str, MetricDescription] = {}
"""The descriptions of metrics by name. A measure declares its own in ``reports``."""
PLAIN = MetricDescription()
"""A plain number; also used for metrics without a description."""
