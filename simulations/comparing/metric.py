"""The metric that strategies are compared by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulations.record.metric_names import description_of


@dataclass(frozen=True)
class Metric:
    """A metric of a round's row, and how it is written."""

    key: str
    """The metric's name in ``metrics.jsonl``."""
    name: str
    """The metric's name in texts."""
    heading: str
    """The heading of its table column, with the unit."""
    difference: str
    """The heading of the column of differences."""
    axis: str
    """The label of a picture's axis, without the unit."""
    unit: str
    """The unit of a difference."""
    labels: bool
    """Whether the metric needs labelled examples."""

    @property
    def suffix(self) -> str:
        """The unit that follows a number."""
        return " %" if description_of(self.key).unit == "share" else ""

    @property
    def sign(self) -> int:
        """−1 if lower is better, otherwise 1."""
        return -1 if description_of(self.key).better == "lower" else 1

    @property
    def short(self) -> str:
        """The metric's short name."""
        return "accuracy" if self.labels else self.name

    @property
    def one(self) -> str:
        """The singular unit of a margin."""
        return "point" if self.labels else "of RankMe"

    def of(self, row: Mapping[str, Any]) -> float:
        """Return the metric of a row as it is shown."""
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
