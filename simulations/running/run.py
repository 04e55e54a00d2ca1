"""Run an experiment: its rounds, the central evaluation, and the files of the run's folder.

from simulations import load_experiment, run
experiment = load_experiment("configs/quickstart.yaml", ["rounds=3"])
finished = run(experiment, out="runs/three")
finished.metrics[-1]["linear_accuracy"]
"""

from pathlib import Path

from simulations.progress.display import Display, QuietDisplay
from simulations.record.run_folder import RunFolder
from simulations.running.open_engine import open_engine
from simulations.server.rounds import Run, find_checkpoint, run_rounds
from simulations.settings.experiment import Experiment
from simulations.setup.notes import check_skipped, list_notes
from simulations.setup.prepare import prepare


def run(
    experiment: Experiment,
    out: str | Path,
    *,
    resume: bool = False,
    profile: bool = False,
    display: Display | None = None,
) -> Run:
    """Run an experiment, or resume one.

    ::

        experiment = load_experiment("configs/quickstart.yaml", ["rounds=3"])
        run(experiment, out="runs/three").metrics[-1]["linear_accuracy"]

    Parameters
    ----------
    experiment : Experiment
        The config, from `load_experiment`.
    out : str | Path
        The run's folder. It must be new or empty, unless ``resume`` is set.
    resume : bool
        Go on after the last finished round in ``out``; the result has the same bits as that of an
        uninterrupted run. Where ``out`` holds no run, start from the beginning.
    profile : bool
        Record how the time of each round divides into parts, in ``profile/``, and show it; see
        `simulations.progress.profiling`. The result has the same bits.
    display : Display | None
        Shows the progress; None shows nothing.

    Returns
    -------
    Run
        The finished run.

    Raises
    ------
    ConfigError
        The config cannot be used, ``out`` holds something else, or another process writes there.
        Nothing was written.
    RunError
        Every client of a round failed, or a file cannot be written. The finished rounds are kept,
        and the run can be resumed.
    """
    display = display or QuietDisplay()
    folder = RunFolder(Path(out))
    with folder.lock(display.on_message):
        prepared = prepare(experiment)
        checkpoint = find_checkpoint(folder, prepared.experiment, resume, display.on_message)
        if checkpoint:
            check_skipped(folder.path, prepared)
        for line in list_notes(prepared):
            display.on_message(line)
        with open_engine(prepared, folder, display) as grid:
            return run_rounds(prepared, grid, folder, checkpoint, profile=profile, display=display)
