"""The results of replays and audits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulations.replaying.merging import ModelUpdate


@dataclass(frozen=True)
class AccuracyDifference:
    """A strategy's accuracy minus the first strategy's, on the same test examples."""

    points: float
    """The difference in percentage points of linear accuracy."""
    low: float
    high: float
    """The ends of the 95 % interval of the difference when the test examples are resampled."""


@dataclass(frozen=True)
class Merge:
    """One strategy's merge of the replies.

    Examples
    --------
    With a finished run::

        first, second = replay(Path("runs/quickstart"), 5, "fedavg,ldawa").merges
        second.difference.points, second.difference.low, second.difference.high
    """

    strategy: str
    row: dict[str, Any]
    """The round's row of metrics, as in ``metrics.jsonl``."""
    after: list[dict[str, Any]]
    """The rows of the rounds that followed under this strategy."""
    step: ModelUpdate
    difference: AccuracyDifference | None
    """The difference after the merge; None for the first strategy, or without labels."""
    last_difference: AccuracyDifference | None
    """The difference after the last of the rounds that followed."""
    model: Path
    """The file of the merged encoder and projector."""


@dataclass(frozen=True)
class Replay:
    """A round merged by several strategies.

    Examples
    --------
    With a finished run::

        result = replay(Path("runs/quickstart"), 5, "fedavg,ldawa")
        best = max(result.merges, key=lambda merge: merge.row["linear_accuracy"])
        best.strategy, best.model
    """

    round: int
    merges: list[Merge]
    notes: list[str]
    """Notes on how to read the results."""
    file: Path
    """The JSON file with all results."""
    picture: Path


@dataclass(frozen=True)
class EncoderProbe:
    """The probe results of one encoder."""

    encoder: str
    """One of ``sent``, ``client 3``, ``merged``, ``recalibrated``, ``norms restored``, ``both``."""
    strategy: str | None
    """The strategy that merged it; None before the merge."""
    linear_accuracy: float
    knn_accuracy: float
    rankme: float
    above_clients: float
    """The linear accuracy minus the mean of the clients' encoders, in percentage points."""
    examples: tuple[float, float]
    """The ends of the 95 % interval of ``above_clients`` when the test examples are resampled."""


@dataclass(frozen=True)
class Audit:
    """The probes of one round's encoders, which show where accuracy is lost.

    Examples
    --------
    With a finished run::

        result = audit(Path("runs/quickstart"), 5)
        min(result.probes, key=lambda probe: probe.linear_accuracy).encoder
    """

    round: int
    probes: list[EncoderProbe]
    clients: int
    """The number of replies that were merged."""
    notes: list[str]
    file: Path
    """The JSON file with all results."""
    picture: Path
