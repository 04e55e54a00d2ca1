"""The plan of a comparison: written before the first run, and never changed after it.

It declares what is compared with what, on which seeds, and which comparisons make the family whose
p values are adjusted together; so that none of this can depend on what the runs show.
"""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from fedssl.config_file import ConfigError, dump, parse_yaml, validate
from fedssl.fields import Fields, Listed, Number
from simulations.comparing.statistics import LEVEL, MARGIN
from simulations.files import replace_text

Words = Annotated[tuple[str, ...], Listed]
Values = dict[str, str]
"""Fields and the value of each, as they were typed."""

_HEAD = """\
# What is compared, declared before the first run. Every run is an ordinary one:
#     fedssl run CONFIG OVERRIDES... RUN'S OVERRIDES... --out FOLDER
# Statistics: final-round linear accuracy, paired by seed; paired t tests against the baseline,
# adjusted together over the family by Holm's procedure; all else is exploratory.
"""


class Planned(Fields):
    """One run."""

    folder: str
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
    measure: Literal["linear_accuracy"] = "linear_accuracy"
    """What is compared: the linear probe after the last round."""
    level: Number = LEVEL
    """Of tests and intervals."""
    margin: Number = MARGIN
    """Points within which two strategies are equivalent."""
    runs: Annotated[tuple[Planned, ...], Listed]
    """All runs that are compared."""
    tuning: Annotated[tuple[Planned, ...], Listed] = ()
    """All runs that choose the tuned fields; they are scored on the validation split."""

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
        return self.path.is_file()

    def read(self) -> Plan:
        """Return the plan.

        Raises
        ------
        ConfigError
            There is none, or it cannot be read.
        """
        if not self.exists():
            raise ConfigError(f"{self.path.parent}: holds no comparison (no plan.yaml)")
        text = self.path.read_text(encoding="utf-8")
        values = parse_yaml(text, str(self.path), most_bytes=10**8, most_values=10**6)
        return validate(Plan, values, base=self.path.parent, source=str(self.path))

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
        if folder.exists() and any(folder.iterdir()):
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
