"""The plan of a comparison: written before the first run, and never changed after it.

It declares what is compared with what, on which seeds, and which comparisons make the family whose
p values are adjusted together; so that none of this can depend on what the runs show.
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
"""Fields and the value of each, as they were typed."""

_HEAD = """\
# What is compared, declared before the first run. Every run is an ordinary one:
#     fedssl run CONFIG OVERRIDES... RUN'S OVERRIDES... --out FOLDER
# Statistics: `measure` after the last round, paired by seed; paired t tests against the baseline,
# adjusted together over the family by Holm's procedure; all else is exploratory.
"""


LARGEST = 64 * MEGABYTE
"""A plan of 100,000 runs is smaller."""


def _inside(folder: str) -> str:
    parts = PurePath(folder).parts
    if not parts or PurePath(folder).is_absolute() or ".." in parts or not folder.isprintable():
        raise ValueError("must be a path below the comparison's folder")
    return folder


class Planned(Fields):
    """One run."""

    folder: Annotated[str, AfterValidator(_inside)]
    """Where it lies, below the comparison's folder."""
    strategy: str
    """Its strategy's or reference's label."""
    values: Values = Field(default_factory=dict)
    """What is varied and matters to it."""
    seed: int
    """It is paired with the runs of this seed."""
    client: int | None = None
    """The client that it has alone, of local-only."""
    setting: Values = Field(default_factory=dict)
    """What is tuned, in a run that tunes."""
    overrides: Words
    """What sets it apart from the config."""


class Plan(Fields):
    """A comparison."""

    config: str
    """The experiment's file."""
    overrides: Words = ()
    """Fields that differ from it in every run."""
    strategies: Words
    """The labels of what is compared."""
    baseline: str
    """The one of them that the others are compared to."""
    references: Words = ()
    """What is shown beside them: central, local-only."""
    vary: dict[str, Words] = Field(default_factory=dict)
    """The fields that make the cells of the grid, and their values."""
    seeds: Annotated[tuple[int, ...], Listed]
    """The seeds of the runs."""
    family: Words
    """The strategies whose comparison with the baseline, in every cell, was asked beforehand."""
    tune: dict[str, Words] = Field(default_factory=dict)
    """The fields that are chosen for each strategy and cell, and their values."""
    tune_seeds: Annotated[tuple[int, ...], Listed] = ()
    """The seeds that they are chosen on: others than ``seeds``."""
    reach: Number | None = None
    """The accuracy in per cent whose cost is told; null is the baseline's final one."""
    measure: Literal["linear_accuracy", "rankme"] = "linear_accuracy"
    """What is compared, after the last round: the linear probe's accuracy, or RankMe, which needs
    no labels."""
    level: Number = LEVEL
    """Of tests and intervals."""
    margin: Number = MARGIN
    """Points within which two strategies are equivalent."""
    runs: Annotated[tuple[Planned, ...], Listed]
    """All runs that are compared."""
    tuning: Annotated[tuple[Planned, ...], Listed] = ()
    """All runs that choose the tuned fields; they are scored on the validation split."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.strategies or not self.seeds:
            raise ValueError("strategies, seeds: at least one of each is compared")
        for name, values in (("strategies", self.labels), ("seeds", self.seeds)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: one is there twice")
        for name, labels in (("baseline", (self.baseline,)), ("family", self.family)):
            if not set(labels) <= set(self.strategies):
                raise ValueError(f"{name}: names none of the strategies")
        if not all(label.isprintable() for label in self.labels):
            raise ValueError("strategies: a name has signs that cannot be printed")
        if not 0 < self.level < 1 or self.margin <= 0:
            raise ValueError("level, margin: must be from 0 to 1, and above 0")
        return self

    def check_runs(self) -> None:
        """Raise a ValueError where a strategy or reference has no run in a cell at a seed."""
        # Counted first: a few fields of many values would be more cells than any machine holds.
        runs = len(self.runs)
        if math.prod(map(len, self.vary.values())) * len(self.seeds) > runs:
            raise ValueError("runs: are fewer than the cells at all seeds")
        of: dict[tuple[str, int], list[Planned]] = {}
        for run in self.runs:
            of.setdefault((run.strategy, run.seed), []).append(run)
        for label, cell, seed in product(self.labels, self.cells, self.seeds):
            own = [r for r in of.get((label, seed), ()) if r.values.items() <= cell.items()]
            if not own or (len(own) > 1 and label in self.strategies):
                raise ValueError(
                    f"runs: {label} has {len(own)} at seed {seed} where one is due"
                    + (f", at {cell}" if cell else "")
                )

    @property
    def metric(self) -> Metric:
        """What is compared."""
        return METRICS[self.measure]

    @property
    def cells(self) -> list[Values]:
        """Every combination of the varied values; one, empty, where nothing is varied."""
        return combinations(self.vary)

    @property
    def labels(self) -> list[str]:
        """The strategies and references, in the order of the tables."""
        return [*self.strategies, *self.references]

    def of(self, label: str, cell: Mapping[str, str], seed: int) -> list[Planned]:
        """Return the runs of a strategy in a cell at a seed: one, or of local-only one a client."""
        return [
            run
            for run in self.runs
            if run.strategy == label and run.seed == seed and run.values.items() <= cell.items()
        ]

    def settings_of(self, run: Planned) -> list[tuple[Values, list[Planned]]]:
        """Return each setting to choose among, with the runs that tell what it is worth.

        Empty where nothing is tuned that such a run has.
        """
        own = [r for r in self.tuning if (r.strategy, r.values) == (run.strategy, run.values)]
        found: dict[str, tuple[Values, list[Planned]]] = {}
        for other in own:
            found.setdefault(str(other.setting), (other.setting, []))[1].append(other)
        return list(found.values())


def combinations(fields: Mapping[str, tuple[str, ...]]) -> list[Values]:
    """Return every choice of a value for each field."""
    return [dict(zip(fields, chosen, strict=True)) for chosen in product(*fields.values())]


class PlanFile:
    """The file ``plan.yaml`` of a comparison's folder."""

    def __init__(self, folder: Path):
        self.path = folder / "plan.yaml"

    def exists(self) -> bool:
        """Say whether the folder is that of a comparison."""
        return os.path.lexists(self.path)

    def read_text(self) -> str:
        """Return the file's text; a ConfigError says that it cannot be read."""
        return read_text(self.path, LARGEST)

    def read(self) -> Plan:
        """Return the plan.

        Raises
        ------
        ConfigError
            There is none, or it cannot be read.
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
        """Write the plan, or see that the one on disk is the same.

        Raises
        ------
        ConfigError
            Another plan, or something else, is there.
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
    old, new = (_told(plan) for plan in (before, now))
    changed = [
        f"  {name} was {old[name]}, is now {new[name]}" for name in old if old[name] != new[name]
    ]
    if changed:
        raise ConfigError(
            "\n".join(
                [
                    f"{folder}: cannot go on, the plan is not the one that it began with",
                    *changed,
                    "  give the same command, or another folder by --out: what is compared is "
                    "declared before the first run",
                ]
            )
        )


def _told(plan: Plan) -> dict[str, Any]:
    values: dict[str, Any] = plan.model_dump(mode="json")
    for name in ("runs", "tuning"):
        values[name] = f"{len(values[name])} runs"
    return values
