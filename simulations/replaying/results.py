"""What replays and audits of a round return."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulations.replaying.merging import Step


@dataclass(frozen=True)
class AccuracyDifference:
    """How far a strategy is above the first one, on the same test examples."""

    points: float
    """Of linear accuracy."""
    low: float
    high: float
    """The middle 95 % of it when the test examples are drawn anew."""


@dataclass(frozen=True)
class Merge:
    """What a strategy made of the replies."""

    strategy: str
    row: dict[str, Any]
    """The round's, as in ``metrics.jsonl``."""
    after: list[dict[str, Any]]
    """Those of the rounds that followed under this strategy."""
    step: Step
    difference: AccuracyDifference | None
    """After the merge; None of the first strategy, or where there are no labels."""
    last_difference: AccuracyDifference | None
    """After the last of the rounds that followed."""
    model: Path
    """The merged encoder and projector."""


@dataclass(frozen=True)
class Replay:
    """A round merged by several strategies."""

    round: int
    merges: list[Merge]
    notes: list[str]
    """What has to be known to read them."""
    file: Path
    """All of it as JSON."""
    picture: Path


@dataclass(frozen=True)
class EncoderProbe:
    """What an encoder is worth."""

    encoder: str
    """Which: ``sent``, ``client 3``, ``merged``, ``recalibrated``, ``norms restored``, ``both``."""
    strategy: str | None
    """Who merged it; None before the merge."""
    linear_accuracy: float
    knn_accuracy: float
    rankme: float
    above_clients: float
    """Points of linear accuracy above the mean of the clients' encoders."""
    examples: tuple[float, float]
    """The middle 95 % of it when the test examples are drawn anew."""


@dataclass(frozen=True)
class Audit:
    """Where accuracy is lost in a round's merge."""

    round: int
    probes: list[EncoderProbe]
    clients: int
    """How many clients' replies there were."""
    notes: list[str]
    file: Path
    """All of it as JSON."""
    picture: Path
