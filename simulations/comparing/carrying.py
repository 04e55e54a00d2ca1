"""Make the runs of a comparison that are not there yet."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from simulations.comparing import tuning
from simulations.comparing.folder import ComparisonFolder
from simulations.comparing.grid import experiment_of
from simulations.comparing.jobs import execute
from simulations.comparing.plan import Plan, Planned, Values
from simulations.comparing.progress import Silent, Watcher
from simulations.comparing.worker import Task
from simulations.engines import LocalConfig
from simulations.experiment import Experiment
from simulations.prepare import prepare

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
        Make only part I of N, so that N machines that share ``out`` can make one each.
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
        The data cannot be read, or what is in ``out`` is another comparison's; nothing was run.
    """
    watcher = watcher or Silent()
    folder = ComparisonFolder(out)
    prepare(experiment_of(plan, plan.runs[0]))
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
