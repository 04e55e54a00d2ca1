"""Run the runs of a comparison that are not finished yet."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fedssl.base.config_file import ConfigError
from fedssl.data import Splits
from simulations.comparing import tuning
from simulations.comparing.folder import ComparisonFolder
from simulations.comparing.grid import experiment_of
from simulations.comparing.jobs import run_tasks
from simulations.comparing.metric import METRICS
from simulations.comparing.plan import Plan, PlannedRun, Values
from simulations.comparing.progress import NoDisplay, RunsDisplay
from simulations.comparing.worker import Task
from simulations.record.lock import LOCK, lock_folder
from simulations.settings.cautions import cautions, is_labelled
from simulations.settings.engines import LocalConfig
from simulations.settings.experiment import Experiment
from simulations.setup.prepare import prepare

Shard = tuple[int, int]
"""A part of the runs: the part's number, from 1, and the number of parts."""

_NO_SETTING = "every setting that --tune names failed; see failed/tuning/"


def compare(
    plan: Plan,
    out: Path,
    *,
    jobs: int = 1,
    shard: Shard = (1, 1),
    display: RunsDisplay | None = None,
) -> list[PlannedRun]:
    """Run every run of a comparison that is not finished.

    Parameters
    ----------
    plan : Plan
        The plan from `make_plan`. It is written to ``out`` before the first run.
    out : Path
        The comparison's folder: new, empty, or of a comparison with the same plan.
    jobs : int
        The number of runs at a time. It changes no result.
    shard : tuple[int, int]
        Run only part I of N, so that N machines that share ``out`` can each run one. Only one
        process at a time can run the same part or the same run.
    display : RunsDisplay | None
        Shows the progress; None shows nothing.

    Returns
    -------
    list[PlannedRun]
        The unfinished tuning runs of other parts, which the rest has to wait for; empty unless
        fields are tuned and ``shard`` is given.

    Raises
    ------
    ConfigError
        The data cannot be read, ``out`` holds another comparison, or another process runs the same
        part; nothing was run.

    Examples
    --------
    Runs of minutes; a second call makes those that are missing::

        plan = make_plan(Request(Path("configs/quickstart.yaml"), "fedavg,ldawa", seeds=3))
        compare(plan, Path("runs/first-comparison"), jobs=2)
    """
    display = display or NoDisplay()
    part, parts = shard
    with lock_folder(out, display.on_message, f"{LOCK}-{part}-of-{parts}"):
        return _compare(plan, ComparisonFolder(out), jobs, shard, display)


def _compare(
    plan: Plan, folder: ComparisonFolder, jobs: int, shard: Shard, display: RunsDisplay
) -> list[PlannedRun]:
    prepared = prepare(experiment_of(plan, plan.runs[0]))
    _check_labels(plan, prepared.splits)
    for line in _notes_and_cautions(plan, prepared.splits):
        display.on_message(line)
    folder.plan.declare(plan)
    folder.check(plan, [(run, {}) for run in plan.tuning])
    if plan.tuning:
        _run_unfinished(plan, folder, [(run, {}) for run in plan.tuning], jobs, shard, display)
        if waiting := tuning.not_ended(plan, folder):
            return waiting
    runs = _with_tuned_values(plan, folder)
    folder.check(plan, runs)
    _run_unfinished(plan, folder, runs, jobs, shard, display)
    return []


def _check_labels(plan: Plan, splits: Splits) -> None:
    if plan.metric.labels and not is_labelled(splits):
        free = [name for name, metric in METRICS.items() if not metric.labels]
        raise ConfigError(
            f"{plan.config}: training or test examples have no labels, so there is no "
            f"{plan.metric.name} to compare; compare without labels by --metric {' or '.join(free)}"
        )


def _notes_and_cautions(plan: Plan, splits: Splits) -> list[str]:
    """Return the notes on the data and the cautions of all runs, each once."""
    by_run = (cautions(experiment_of(plan, run), splits) for run in plan.runs)
    distinct = dict.fromkeys(caution for run_cautions in by_run for caution in run_cautions)
    return [*splits.notes, *(f"caution: {caution}" for caution in distinct)]


def _with_tuned_values(plan: Plan, folder: ComparisonFolder) -> list[tuple[PlannedRun, Values]]:
    """Return the runs, each with its tuned values; a run for which none is left fails."""
    if not plan.tuning:
        return [(run, {}) for run in plan.runs]
    chosen = {str((r.strategy, r.values)): tuning.choose(plan, folder, r) for r in plan.runs}
    tuning.write(folder, list(chosen.values()))
    runs = []
    for run in plan.runs:
        setting = chosen[str((run.strategy, run.values))].setting
        if setting is None:
            folder.note(run.folder, _NO_SETTING)
        else:
            runs.append((run, setting))
    return runs


def _run_unfinished(
    plan: Plan,
    folder: ComparisonFolder,
    runs: Sequence[tuple[PlannedRun, Mapping[str, str]]],
    jobs: int,
    shard: Shard,
    display: RunsDisplay,
) -> None:
    part, parts = shard
    part_runs = runs[part - 1 :: parts]
    unfinished = [(run, setting) for run, setting in part_runs if not folder.is_done(run)]
    tasks = [
        Task(
            run.folder,
            _share_of_cores(experiment_of(plan, run, setting), jobs),
            folder.path / run.folder,
        )
        for run, setting in unfinished
    ]
    done = len(part_runs) - len(unfinished)
    with display.running(_rounds(tasks), len(part_runs), done):
        run_tasks(tasks, jobs, display, lambda task, error: folder.note(task.name, error))


def _rounds(tasks: Iterable[Task]) -> int:
    return sum(task.experiment.rounds for task in tasks)


def _share_of_cores(experiment: Experiment, jobs: int) -> Experiment:
    """Divide the cores among the jobs, unless the config sets ``engine.workers``."""
    engine = experiment.engine
    if jobs == 1 or not isinstance(engine, LocalConfig) or engine.workers is not None:
        return experiment
    engine = engine.resolve(experiment.client.threads)
    if engine.device == "cpu":
        workers = max(1, (os.cpu_count() or 1) // jobs)
        engine = engine.model_copy(update={"workers": workers})
    return experiment.model_copy(update={"engine": engine})
