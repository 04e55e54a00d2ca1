"""Run an experiment: the rounds, the central evaluation, and what is kept of them on disk.

For example::

    from simulations import load_experiment, run
    experiment = load_experiment("configs/quickstart.yaml", ["rounds=3"])
    finished = run(experiment, out="runs/three")
    finished.metrics[-1]["linear_accuracy"]
"""

from pathlib import Path

from simulations.progress.display import Display, Quiet
from simulations.record.run_folder import RunFolder
from simulations.running.open_engine import opened
from simulations.server.rounds import Run, carry_out, find
from simulations.settings.experiment import Experiment
from simulations.setup.notes import check_skipped, lines
from simulations.setup.prepare import prepare


def run(
    experiment: Experiment,
    out: str | Path,
    *,
    resume: bool = False,
    profile: bool = False,
    display: Display | None = None,
) -> Run:
    """Run an experiment, or go on with one.

    Parameters
    ----------
    experiment : Experiment
        See `load_experiment`.
    out : str | Path
        The run's folder. It must be new or empty, unless ``resume`` is set.
    resume : bool
        Go on after the last finished round in ``out``; the result has the same bits as that of a
        run without a stop. Where ``out`` holds no run, it starts from the beginning.
    profile : bool
        Write where the time of each round that is run now went to ``profile/``, and show it; see
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
        The config cannot be used, ``out`` holds something else, or another process writes there;
        nothing was written.
    RunError
        Every client of a round failed, or a file cannot be written; the rounds before it are kept,
        and can be resumed.
    """
    display = display or Quiet()
    folder = RunFolder(Path(out))
    with folder.locked(display.said):
        prepared = prepare(experiment)
        found = find(folder, prepared.experiment, resume, display.said)
        if found:
            check_skipped(folder.path, prepared)
        for line in lines(prepared):
            display.said(line)
        with opened(prepared, folder, display) as grid:
            return carry_out(prepared, grid, folder, found, profile=profile, display=display)
