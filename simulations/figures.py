"""How the figures of measures are told: by name, and as people read them."""

from collections.abc import Mapping

ALWAYS = (
    "train_loss",
    "linear_accuracy",
    "linear_accuracy_recalibrated",
    "knn_accuracy",
    "rankme",
)
"""Those that a round has without being asked for, each shown in a way of its own."""


def further(row: Mapping[str, object]) -> dict[str, float]:
    """Return those figures of a row of ``metrics.jsonl`` that ``evaluation.measures`` gave."""
    return {
        key: value
        for key, value in row.items()
        if isinstance(value, float) and key not in ALWAYS and not key.endswith("seconds")
    }


def name_of(key: str) -> str:
    """Return a figure's name in words."""
    return key.replace("_", " ")


def shown(key: str, value: float) -> str:
    """Return a figure as people read it: accuracies and other shares in per cent."""
    shares = ("accuracy", "gap", "recall", "regret", "retrieval", "variance", "risk")
    return f"{100 * value:.1f} %" if any(part in key for part in shares) else f"{value:.4g}"
