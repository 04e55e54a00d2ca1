"""Choose each strategy's tuned values on the validation split, with the same budget for all."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from fedssl.base.config_file import ConfigError
from simulations.comparing.folder import ComparisonFolder
from simulations.comparing.plan import Plan, PlannedRun, Values
from simulations.record.files import replace_text
from simulations.record.run_folder import RunFolder


@dataclass(frozen=True)
class TuningChoice:
    """The tuned values that were chosen for a strategy in a cell of the grid."""

    strategy: str
    values: Values
    setting: Values | None
    """The chosen values; None if every setting failed."""
    scores: list[tuple[Values, float | None]]
    """Each setting's mean accuracy on the validation split, 0-1; None if one of its runs failed."""


def choose(plan: Plan, folder: ComparisonFolder, run: PlannedRun) -> TuningChoice:
    """Choose the setting with the highest validation accuracy, the first of equals.

    A setting is not chosen if one of its runs failed, for example because training diverged. All
    tuning runs must have ended.
    """
    scores = [(setting, _score(folder, others)) for setting, others in plan.settings_of(run)]
    if not scores:
        return TuningChoice(run.strategy, run.values, {}, [])
    setting, best = max(scores, key=lambda pair: -math.inf if pair[1] is None else pair[1])
    return TuningChoice(run.strategy, run.values, None if best is None else setting, scores)


def _score(folder: ComparisonFolder, runs: list[PlannedRun]) -> float | None:
    if not all(map(folder.is_done, runs)):
        return None
    return fmean(_last_accuracy(folder.run(run)) for run in runs)


def _last_accuracy(run: RunFolder) -> float:
    rows = run.read_finished()
    if not rows or "linear_accuracy" not in rows[-1]:
        raise ConfigError(
            f"{run.metrics}: has no linear accuracy in its last row; remove {run.path}, and the "
            "same `fedssl compare` command repeats the run"
        )
    return float(rows[-1]["linear_accuracy"])


def not_ended(plan: Plan, folder: ComparisonFolder) -> list[PlannedRun]:
    """Return the runs that have to end before anything can be chosen."""
    return [r for r in plan.tuning if not folder.is_done(r) and folder.error(r) is None]


def write(folder: ComparisonFolder, choices: list[TuningChoice]) -> None:
    """Write ``tuning.json``: every setting's score, and the chosen setting."""
    entries: list[Mapping[str, Any]] = [
        {
            "strategy": choice.strategy,
            "values": choice.values,
            "chosen": choice.setting,
            "validation_accuracy": [
                {"setting": setting, "mean": score} for setting, score in choice.scores
            ],
        }
        for choice in choices
    ]
    replace_text(folder.tuning, json.dumps(entries, indent=2) + "\n")
