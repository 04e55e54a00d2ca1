"""The figure that strategies are compared by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulations.record.metric_names import description_of


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
    labels: bool
    """Whether it needs labelled examples."""

    @property
    def suffix(self) -> str:
        """Behind a number."""
        return " %" if description_of(self.key).unit == "share" else ""

    @property
    def sign(self) -> int:
        """−1 where lower is better, else 1."""
        return -1 if description_of(self.key).better == "lower" else 1

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
        scale = 100.0 if description_of(self.key).unit == "share" else 1.0
        return scale * float(row[self.key])


LINEAR = Metric(
    key="linear_accuracy",
    name="linear accuracy",
    heading="accuracy (%)",
    difference="difference (points)",
    axis="linear probe, test accuracy",
    unit="points",
    labels=True,
)
RANKME = Metric(
    key="rankme",
    name="RankMe",
    heading="RankMe",
    difference="difference (RankMe)",
    axis="RankMe of the test examples' features",
    unit="RankMe",
    labels=False,
)
METRICS = {metric.key: metric for metric in (LINEAR, RANKME)}
"""The metrics by the name that ``--metric`` gives them."""
