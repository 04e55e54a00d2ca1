"""The results of a comparison's runs, read from their folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from fedssl.base.config_file import ConfigError
from fedssl.partitions import Counts
from simulations.comparing.arms import REFERENCES, UNTRAINED
from simulations.comparing.folder import ComparisonFolder
from simulations.comparing.metric import LINEAR, Metric
from simulations.comparing.plan import Plan, PlannedRun, Values
from simulations.record.client_names import read_client_names
from simulations.record.run_folder import RunFolder
from simulations.record.tables import Divergence, read_divergence, read_partition

Row = Mapping[str, Any]

SUMS = ("bytes_up", "bytes_down", "client_seconds", "merge_seconds", "evaluate_seconds", "seconds")
"""The columns that add up over rounds and clients."""


@dataclass(frozen=True)
class Result:
    """A strategy's result at a seed: of one run, or for local-only the mean over its clients."""

    strategy: str
    seed: int
    rows: Sequence[Row]
    """One row for each round from 0: metrics and costs."""
    clients: int
    """The number of clients."""
    error: str | None = None
    """Why the result is incomplete; None if it is complete."""
    right: np.ndarray | None = None
    """float [M]: how often each test example was classified correctly at the end, 0-1; None if no
    example has a label."""
    metric: Metric = LINEAR
    """The metric that is compared."""

    @property
    def done(self) -> bool:
        """Whether the result is complete."""
        return self.error is None

    @property
    def accuracy(self) -> float:
        """The metric after the last round; an accuracy in per cent."""
        return self.metric.of(self.rows[-1])

    @property
    def begins(self) -> float:
        """The metric of the untrained encoder."""
        return self.metric.of(self.rows[0])


class Results:
    """All results of a comparison; each is read from disk when it is first used."""

    def __init__(self, folder: ComparisonFolder, plan: Plan):
        self.plan = plan
        self._folder = folder
        self._read: dict[str, Result] = {}
        self._diverged: dict[str, Divergence | None] = {}
        self._alike: dict[tuple[object, ...], object] = {}

    def of(self, label: str, cell: Values, seed: int) -> Result:
        """Return a strategy's or reference's result in a cell at a seed, or the untrained one's."""
        if label == UNTRAINED:
            return self._untrained(cell, seed)
        planned = self.plan.of(label, cell, seed)
        key = planned[0].folder
        if key not in self._read:
            self._read[key] = self._combine(label, cell, seed, planned)
        return self._read[key]

    def divergence(self, label: str, cell: Values, seed: int) -> Divergence | None:
        """Return δ of a strategy's run, or None if the run is not finished or has none."""
        (planned,) = self.plan.of(label, cell, seed)
        if planned.folder not in self._diverged:
            file = self._folder.run(planned).divergence
            is_there = file.exists() and self._folder.is_done(planned)
            divergence = read_divergence(file) if is_there else None
            self._diverged[planned.folder] = (
                divergence if divergence and divergence.rounds else None
            )
        return self._diverged[planned.folder]

    def partition(self, cell: Values, seed: int) -> tuple[Counts, list[str]] | None:
        """Return the counts of examples by client and class, and the classes' names.

        All strategies' runs of a seed share them; None if none of the runs is finished.
        """
        for label in self.plan.strategies:
            (planned,) = self.plan.of(label, cell, seed)
            file = self._folder.run(planned).partition
            if file.exists() and self._folder.is_done(planned):
                counts, classes = read_partition(file)
                return (counts, classes) if counts.shape[0] else None
        return None

    def client_names(self, cell: Values, seed: int) -> list[str]:
        """Return the names of the clients of `partition`; empty if they have none."""
        planned = [self.plan.of(label, cell, seed)[0] for label in self.plan.strategies]
        files = [self._folder.run(run).partition for run in planned if self._folder.is_done(run)]
        return read_client_names(files[0]) if files else []

    @cached_property
    def labels(self) -> list[str]:
        """The labels that the tables show, the baseline first."""
        others = [label for label in self.plan.labels if label != self.plan.baseline]
        return [self.plan.baseline, *others, UNTRAINED]

    def progress(self) -> tuple[int, int]:
        """Return the number of finished runs, and of all runs."""
        return sum(map(self._folder.is_done, self.plan.runs)), len(self.plan.runs)

    def failures(self) -> list[tuple[str, str]]:
        """Return the failed runs, including tuning runs, and why each failed."""
        runs = (*self.plan.tuning, *self.plan.runs)
        errors = ((run, self._folder.error(run)) for run in runs)
        return [(r.folder, e) for r, e in errors if e is not None and not self._folder.is_done(r)]

    def _check_alike(
        self, folder: RunFolder, what: str, of: tuple[object, ...], value: object
    ) -> None:
        """Refuse a run that cannot be compared with the runs that were read before it."""
        if self._alike.setdefault((what, *of), value) != value:
            raise ConfigError(
                f"{folder.path}: has other {what} than the runs that it is compared with; remove "
                "the folder, and the same `fedssl compare` command repeats the run"
            )

    def _combine(
        self, label: str, cell: Values, seed: int, planned: Sequence[PlannedRun]
    ) -> Result:
        errors = [
            self._folder.error(run) or "not run yet"
            for run in planned
            if not self._folder.is_done(run)
        ]
        if errors:
            return Result(label, seed, [], 0, error=errors[0])
        folders = [self._folder.run(run) for run in planned]
        metric = self.plan.metric
        tables = [folder.read_finished() for folder in folders]
        for folder, rows in zip(folders, tables, strict=True):
            if not rows or any(metric.key not in row for row in (rows[0], rows[-1])):
                raise ConfigError(
                    f"{folder.path}: has no {metric.name} to compare"
                    + (": training or test examples have no labels" if metric.labels else "")
                )
            self._check_alike(
                folder, "evaluated rounds", (label, *cell.items()), _evaluated(rows, metric)
            )
        right = []
        for folder in folders:
            if metric.labels and (own := _right(folder, "final")) is not None:
                self._check_alike(
                    folder, "test examples with a label", tuple(cell.items()), len(own)
                )
                right.append(own)
        means = [_mean(each) for each in zip(*tables, strict=True)]
        clients = read_partition(folders[0].partition)[0].shape[0]
        if not clients:
            raise ConfigError(f"{folders[0].partition}: has no clients to compare")
        if label in REFERENCES:
            # References send no models.
            means = [{**row, "bytes_up": 0, "bytes_down": 0} for row in means]
        mean = np.mean(right, axis=0) if right else None
        return Result(label, seed, means, clients, right=mean, metric=metric)

    def _untrained(self, cell: Values, seed: int) -> Result:
        """Return round 0, which all runs of a seed share, of the first finished run."""
        for label in self.labels[:-1]:
            result = self.of(label, cell, seed)
            if result.done:
                planned = self.plan.of(label, cell, seed)[0]
                metric, rows = self.plan.metric, result.rows[:1]
                right = _right(self._folder.run(planned), "untrained") if metric.labels else None
                return Result(UNTRAINED, seed, rows, result.clients, right=right, metric=metric)
        return Result(UNTRAINED, seed, [], 0, error="not run yet")


def _right(folder: RunFolder, name: str) -> np.ndarray | None:
    arrays = folder.read_predictions()
    if name not in arrays:
        return None
    labels = arrays["label"]
    right: np.ndarray = (arrays[name] == labels)[labels >= 0].astype(float)
    return right if len(right) else None


def _evaluated(rows: Sequence[Row], metric: Metric) -> tuple[int, ...]:
    return tuple(row["round"] for row in rows if metric.key in row)


def _mean(rows: Sequence[Row]) -> Row:
    """Return one row for several runs: the mean of each metric, and the sum of each cost."""
    first = rows[0]
    if len(rows) == 1:
        return first
    numbers = [n for n in first if all(isinstance(row.get(n), (int, float)) for row in rows)]
    return {
        name: sum(row[name] for row in rows)
        if name in SUMS
        else fmean(row[name] for row in rows)
        if name != "round"
        else first[name]
        for name in numbers
    }
