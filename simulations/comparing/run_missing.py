"""Make the runs of a comparison that are not there yet."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fedssl.base.config_file import ConfigError
from fedssl.data import Splits
from simulations.comparing import tuning
from simulations.comparing.folder import ComparisonFolder
from simulations.comparing.grid import experiment_of
from simulations.comparing.jobs import execute
from simulations.comparing.metric import METRICS
from simulations.comparing.plan import Plan, Planned, Values
from simulations.comparing.progress import Silent, Watcher
from simulations.comparing.worker import Task
from simulations.record.lock import LOCK, lock_folder
from simulations.settings.cautions import cautions, is_labelled
from simulations.settings.engines import LocalConfig
from simulations.settings.experiment import Experiment
from simulations.setup.prepare import prepare

Share = tuple[int, int]
"""The number, from 1, of a part of the runs, and how many parts there are."""

_NO_SETTING = "every setting that --tune names failed; see failed/tuning/"


def compare(
    plan: Plan,
    out: Path,
    *,
    jobs: int = 1,
    only: Share = (1, 1),
    watcher: Watcher | None = None,
) -> list[Planned]:
    """Make every run of a comparison that is not done.

    Parameters
    ----------
    plan : Plan
        See `make_plan`. It is written to ``out`` before the first run.
    out : Path
        The comparison's folder: new or empty, or one that was begun with the same plan.
    jobs : int
        How many runs are made at once. It changes no result.
    only : tuple[int, int]
        Make only part I of N, so that N machines that share ``out`` can make one each. The same
        part is made by one process at a time, and so is each run.
    watcher : Watcher | None
        Shows the progress; None shows nothing.

    Returns
    -------
    list[Planned]
        The runs that have to end before the rest can begin, which other parts make; empty unless
        fields are tuned and ``only`` is given.

    Raises
    ------
    ConfigError
        The data cannot be read, what is in ``out`` is another comparison's, or another process
        makes the same part; nothing was run.
    """
    watcher = watcher or Silent()
    part, parts = only
    with lock_folder(out, watcher.said, f"{LOCK}-{part}-of-{parts}"):
        return _compare(plan, ComparisonFolder(out), jobs, only, watcher)


def _compare(
    plan: Plan, folder: ComparisonFolder, jobs: int, only: Share, watcher: Watcher
) -> list[Planned]:
    prepared = prepare(experiment_of(plan, plan.runs[0]))
    _check_labels(plan, prepared.splits)
    for line in _told(plan, prepared.splits):
        watcher.said(line)
    folder.plan.declare(plan)
    folder.check(plan, [(run, {}) for run in plan.tuning])
    if plan.tuning:
        _make(plan, folder, [(run, {}) for run in plan.tuning], jobs, only, watcher)
        if waiting := tuning.not_ended(plan, folder):
            return waiting
    runs = _with_settings(plan, folder)
    folder.check(plan, runs)
    _make(plan, folder, runs, jobs, only, watcher)
    return []


def _check_labels(plan: Plan, splits: Splits) -> None:
    if plan.metric.labels and not is_labelled(splits):
        free = [name for name, metric in METRICS.items() if not metric.labels]
        raise ConfigError(
            f"{plan.config}: training or test examples have no labels, so there is no "
            f"{plan.metric.name} to compare; compare without labels by --metric {' or '.join(free)}"
        )


def _told(plan: Plan, splits: Splits) -> list[str]:
    """Return what is to be said before the first run, each once."""
    every = (cautions(experiment_of(plan, run), splits) for run in plan.runs)
    told = dict.fromkeys(caution for one in every for caution in one)
    return [*splits.notes, *(f"caution: {caution}" for caution in told)]


def _with_settings(plan: Plan, folder: ComparisonFolder) -> list[tuple[Planned, Values]]:
    """Return the runs, each with its setting; those without any count as failed."""
    if not plan.tuning:
        return [(run, {}) for run in plan.runs]
    chosen = {str((r.strategy, r.values)): tuning.choose(plan, folder, r) for r in plan.runs}
    tuning.write(folder, list(chosen.values()))
    found = []
    for run in plan.runs:
        setting = chosen[str((run.strategy, run.values))].setting
        if setting is None:
            folder.note(run.folder, _NO_SETTING)
        else:
            found.append((run, setting))
    return found


def _make(
    plan: Plan,
    folder: ComparisonFolder,
    runs: Sequence[tuple[Planned, Mapping[str, str]]],
    jobs: int,
    only: Share,
    watcher: Watcher,
) -> None:
    part, parts = only
    mine = runs[part - 1 :: parts]
    left = [(run, setting) for run, setting in mine if not folder.is_done(run)]
    tasks = [
        Task(
            run.folder,
            _share_of_cores(experiment_of(plan, run, setting), jobs),
            folder.path / run.folder,
        )
        for run, setting in left
    ]
    with watcher.running(_rounds(tasks), len(mine), len(mine) - len(left)):
        execute(tasks, jobs, watcher, lambda task, error: folder.note(task.name, error))


def _rounds(tasks: Iterable[Task]) -> int:
    return sum(task.experiment.rounds for task in tasks)


def _share_of_cores(experiment: Experiment, jobs: int) -> Experiment:
    """Let a run take its share of the cores, unless the config says how many."""
    engine = experiment.engine
    if jobs == 1 or not isinstance(engine, LocalConfig) or engine.workers is not None:
        return experiment
    engine = engine.resolve(experiment.client.threads)
    if engine.device == "cpu":
        workers = max(1, (os.cpu_count() or 1) // jobs)
        engine = engine.model_copy(update={"workers": workers})
    return experiment.model_copy(update={"engine": engine})
