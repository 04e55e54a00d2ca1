"""The metrics of a round's row: their descriptions, names and formats."""

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
"""The metrics that every round reports; measures declare the others."""
ALWAYS = (
    "train_loss",
    "linear_accuracy",
    "linear_accuracy_recalibrated",
    "knn_accuracy",
    "rankme",
)
"""The metrics of the default evaluation, each shown in its own format."""


def description_of(key: str) -> MetricDescription:
    """Return the description of a metric; an undeclared one is a plain number."""
    return ROUND.get(key) or METRICS.get(key, PLAIN)


def extra_metrics(row: Mapping[str, object]) -> dict[str, float]:
    """Return the metrics of a row of ``metrics.jsonl`` that ``evaluation.measures`` gave."""
    return {
        key: value
        for key, value in row.items()
        if isinstance(value, float) and key not in ALWAYS and key not in ROUND
    }


def metric_label(key: str) -> str:
    """Return a metric's name in words.

    >>> metric_label("knn_accuracy")
    'knn accuracy'
    """
    return key.replace("_", " ")


def format_metric(key: str, value: float) -> str:
    """Return a metric's value with its unit; shares are in per cent.

    >>> format_metric("bytes_up", 2500), format_metric("seconds", 90)
    ('2.5 kB', '1 min 30 s')
    """
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
