"""The plan of a comparison: written before the first run, and never changed after it.

It declares the strategies, the seeds, and the family of comparisons whose p values are adjusted
together, so that none of these can depend on the results.
"""

import math
import os
from collections.abc import Mapping
from itertools import product
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fedssl.base.config_file import ConfigError, dump, parse_yaml, validate
from fedssl.base.fields import Fields, Listed, Number
from fedssl.base.plain_files import MEGABYTE, read_text
from simulations.comparing.metric import METRICS, Metric
from simulations.comparing.statistics import LEVEL, MARGIN
from simulations.record.files import replace_text
from simulations.record.lock import is_temporary

Words = Annotated[tuple[str, ...], Listed]
Values = dict[str, str]
"""Config fields and their values, as they were typed."""

_HEAD = """\
# What is compared, declared before the first run. Every run is an ordinary one:
#     fedssl run CONFIG OVERRIDES... RUN'S OVERRIDES... --out FOLDER
# Statistics: `measure` after the last round, paired by seed; paired t tests against the baseline,
# adjusted together over the family by Holm's procedure; all else is exploratory.
"""


LARGEST = 64 * MEGABYTE
"""The largest plan file in bytes; a plan of 100,000 runs is smaller."""


def _inside(folder: str) -> str:
    parts = PurePath(folder).parts
    if not parts or PurePath(folder).is_absolute() or ".." in parts or not folder.isprintable():
        raise ValueError("must be a path below the comparison's folder")
    return folder


class PlannedRun(Fields):
    """One run of a comparison."""

    folder: Annotated[str, AfterValidator(_inside)]
    """The run's folder, below the comparison's folder."""
    strategy: str
    """The label of the run's strategy or reference."""
    values: Values = Field(default_factory=dict)
    """The varied fields that affect this run."""
    seed: int
    """The run's seed; runs are paired by it."""
    client: int | None = None
    """The only client of a local-only run."""
    setting: Values = Field(default_factory=dict)
    """The tuned fields of a tuning run."""
    overrides: Words
    """The overrides of the config that make this run."""


class Plan(Fields):
    """The plan of a comparison, as ``plan.yaml`` holds it."""

    config: str
    """The experiment's config file."""
    overrides: Words = ()
    """The overrides of the config in every run."""
    strategies: Words
    """The labels of the strategies that are compared."""
    baseline: str
    """The strategy that the others are compared to."""
    references: Words = ()
    """The references that are shown in addition: central, local-only."""
    vary: dict[str, Words] = Field(default_factory=dict)
    """The varied fields, which span the grid, and their values."""
    seeds: Annotated[tuple[int, ...], Listed]
    """The seeds of the runs."""
    family: Words
    """The strategies whose comparison with the baseline, in every cell, is the question."""
    tune: dict[str, Words] = Field(default_factory=dict)
    """The fields that are tuned for each strategy and cell, and their values."""
    tune_seeds: Annotated[tuple[int, ...], Listed] = ()
    """The seeds of the tuning runs, which differ from ``seeds``."""
    reach: Number | None = None
    """The accuracy in per cent whose cost is reported; null is the baseline's final one."""
    measure: Literal["linear_accuracy", "rankme"] = "linear_accuracy"
    """The metric that is compared after the last round: the linear probe's accuracy, or RankMe,
    which needs no labels."""
    level: Number = LEVEL
    """The level of tests and intervals."""
    margin: Number = MARGIN
    """The difference in points within which two strategies are equivalent."""
    runs: Annotated[tuple[PlannedRun, ...], Listed]
    """All runs that are compared."""
    tuning: Annotated[tuple[PlannedRun, ...], Listed] = ()
    """All runs that choose the tuned fields; they are evaluated on the validation split."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not self.strategies or not self.seeds:
            raise ValueError("strategies, seeds: at least one of each is compared")
        for name, values in (("strategies", self.labels), ("seeds", self.seeds)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: one is listed twice")
        for name, labels in (("baseline", (self.baseline,)), ("family", self.family)):
            if not set(labels) <= set(self.strategies):
                raise ValueError(f"{name}: names none of the strategies")
        if not all(label.isprintable() for label in self.labels):
            raise ValueError("strategies: a name has signs that cannot be printed")
        if not 0 < self.level < 1 or self.margin <= 0:
            raise ValueError("level, margin: must be from 0 to 1, and above 0")
        return self

    def check_runs(self) -> None:
        """Raise a ValueError if a strategy or reference lacks a run in a cell at a seed."""
        # Counted first, since a few fields of many values make more cells than a machine can hold.
        runs = len(self.runs)
        if math.prod(map(len, self.vary.values())) * len(self.seeds) > runs:
            raise ValueError("runs: are fewer than the cells at all seeds")
        of: dict[tuple[str, int], list[PlannedRun]] = {}
        for run in self.runs:
            of.setdefault((run.strategy, run.seed), []).append(run)
        for label, cell, seed in product(self.labels, self.cells, self.seeds):
            runs_here = [r for r in of.get((label, seed), ()) if r.values.items() <= cell.items()]
            if not runs_here or (len(runs_here) > 1 and label in self.strategies):
                raise ValueError(
                    f"runs: {label} has {len(runs_here)} at seed {seed}, but needs one"
                    + (f", at {cell}" if cell else "")
                )

    @property
    def metric(self) -> Metric:
        """The metric that is compared."""
        return METRICS[self.measure]

    @property
    def cells(self) -> list[Values]:
        """Every combination of the varied values; a single empty one if nothing is varied."""
        return combinations(self.vary)

    @property
    def labels(self) -> list[str]:
        """The strategies and references, in the order of the tables."""
        return [*self.strategies, *self.references]

    def of(self, label: str, cell: Mapping[str, str], seed: int) -> list[PlannedRun]:
        """Return a strategy's run in a cell at a seed; of local-only, one run for each client."""
        return [
            run
            for run in self.runs
            if run.strategy == label and run.seed == seed and run.values.items() <= cell.items()
        ]

    def settings_of(self, run: PlannedRun) -> list[tuple[Values, list[PlannedRun]]]:
        """Return each setting to choose among, with its tuning runs.

        The list is empty if nothing is tuned that affects this run.
        """
        settings: dict[str, tuple[Values, list[PlannedRun]]] = {}
        for other in self.tuning:
            if (other.strategy, other.values) == (run.strategy, run.values):
                settings.setdefault(str(other.setting), (other.setting, []))[1].append(other)
        return list(settings.values())


def combinations(fields: Mapping[str, tuple[str, ...]]) -> list[Values]:
    """Return every choice of a value for each field."""
    return [dict(zip(fields, chosen, strict=True)) for chosen in product(*fields.values())]


class PlanFile:
    """The file ``plan.yaml`` of a comparison's folder."""

    def __init__(self, folder: Path):
        self.path = folder / "plan.yaml"

    def exists(self) -> bool:
        """Return whether the folder holds a comparison."""
        return os.path.lexists(self.path)

    def read_text(self) -> str:
        """Return the file's text, or raise a ConfigError if it cannot be read."""
        return read_text(self.path, LARGEST)

    def read(self) -> Plan:
        """Return the plan.

        Raises
        ------
        ConfigError
            There is no plan, or it cannot be read.
        """
        if not self.exists():
            raise ConfigError(f"{self.path.parent}: holds no comparison (no plan.yaml)")
        values = parse_yaml(self.read_text(), str(self.path), most_bytes=10**8, most_values=10**6)
        plan = validate(Plan, values, base=self.path.parent, source=str(self.path))
        try:
            plan.check_runs()
        except ValueError as error:
            raise ConfigError(f"{self.path}: {error}") from None
        return plan

    def declare(self, plan: Plan) -> None:
        """Write the plan, or check that the one on disk is the same.

        Raises
        ------
        ConfigError
            The folder holds another plan or something else.
        """
        folder = self.path.parent
        if self.exists():
            _check_same(self.read(), plan, folder)
            return
        if folder.exists() and not all(is_temporary(path.name) for path in folder.iterdir()):
            raise ConfigError(
                f"{folder}: is not empty, but holds no comparison (no plan.yaml); give another "
                "folder by --out"
            )
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(self.path, _HEAD + dump(plan))


def _check_same(before: Plan, now: Plan, folder: Path) -> None:
    old, new = (_abridged(plan) for plan in (before, now))
    changed = [
        f"  {name} was {old[name]}, is now {new[name]}" for name in old if old[name] != new[name]
    ]
    if changed:
        raise ConfigError(
            "\n".join(
                [
                    f"{folder}: cannot go on, the plan differs from the one it was started with",
                    *changed,
                    "  give the same command, or another folder by --out: what is compared is "
                    "declared before the first run",
                ]
            )
        )


def _abridged(plan: Plan) -> dict[str, Any]:
    values: dict[str, Any] = plan.model_dump(mode="json")
    for name in ("runs", "tuning"):
        values[name] = f"{len(values[name])} runs"
    return values
