"""What the figures of a round's row are, and how people read them."""

import math
from collections.abc import Mapping

from fedssl.evaluation import MetricDescription
from fedssl.evaluation.metrics import METRICS, PLAIN

_BYTES = MetricDescription(unit="bytes", better="lower")
_SECONDS = MetricDescription(unit="seconds", better="lower")
ROUND = {
    "train_loss": MetricDescription(better="lower"),
    "bytes_up": _BYTES,
    "bytes_down": _BYTES,
    "seconds": _SECONDS,
    "train_seconds": _SECONDS,
    "merge_seconds": _SECONDS,
    "evaluate_seconds": _SECONDS,
    "client_seconds": _SECONDS,
}
"""What every round reports, whatever is measured; the measures declare the rest."""
ALWAYS = (
    "train_loss",
    "linear_accuracy",
    "linear_accuracy_recalibrated",
    "knn_accuracy",
    "rankme",
)
"""Those that a round has without being asked for, each shown in a way of its own."""


def description_of(key: str) -> MetricDescription:
    """Return what a figure is; one that nobody declared is a plain number."""
    return ROUND.get(key) or METRICS.get(key, PLAIN)


def further(row: Mapping[str, object]) -> dict[str, float]:
    """Return those figures of a row of ``metrics.jsonl`` that ``evaluation.measures`` gave."""
    return {
        key: value
        for key, value in row.items()
        if isinstance(value, float) and key not in ALWAYS and key not in ROUND
    }


def name_of(key: str) -> str:
    """Return a figure's name in words."""
    return key.replace("_", " ")


def shown(key: str, value: float) -> str:
    """Return a figure as people read it, by its unit: shares in per cent."""
    match description_of(key).unit if math.isfinite(value) else "number":
        case "share":
            return f"{100 * value:.1f} %"
        case "bytes":
            return size(value)
        case "seconds":
            return duration(value)
        case "number":
            return f"{value:.4g}"


def size(count: float) -> str:
    """Return a number of bytes with a decimal unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def duration(seconds: float) -> str:
    """Return a time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
