"""The figure that strategies are compared by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """A figure of a round's row, and how it is written."""

    key: str
    """Its name in ``metrics.jsonl``."""
    name: str
    """What texts call it."""
    heading: str
    """Of a table's column, with its unit."""
    difference: str
    """The same of a difference."""
    axis: str
    """Of a picture's axis, less the unit."""
    unit: str
    """Of a difference."""
    suffix: str
    """Behind a number."""
    scale: float
    """What the row's number is multiplied by to be shown."""
    labels: bool
    """Whether it needs labelled examples."""

    @property
    def short(self) -> str:
        """What it is called where there is no doubt of which accuracy it is."""
        return "accuracy" if self.labels else self.name

    @property
    def one(self) -> str:
        """What a margin is counted in."""
        return "point" if self.labels else "of RankMe"

    def of(self, row: Mapping[str, Any]) -> float:
        """Return the figure of a row as it is shown."""
        return self.scale * float(row[self.key])


LINEAR = Metric(
    key="linear_accuracy",
    name="linear accuracy",
    heading="accuracy (%)",
    difference="difference (points)",
    axis="linear probe, test accuracy",
    unit="points",
    suffix=" %",
    scale=100.0,
    labels=True,
)
RANKME = Metric(
    key="rankme",
    name="RankMe",
    heading="RankMe",
    difference="difference (RankMe)",
    axis="RankMe of the test examples' features",
    unit="RankMe",
    suffix="",
    scale=1.0,
    labels=False,
)
METRICS = {metric.key: metric for metric in (LINEAR, RANKME)}
"""The metrics by the name that ``--metric`` gives them."""
