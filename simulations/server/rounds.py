"""Run the rounds of an experiment, and write each to the run's folder."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fedssl.base.config_file import ConfigError
from fedssl.base.files import WriteError
from fedssl.base.tracing import span
from fedssl.evaluation.parallel import one_thread
from fedssl.models.model_file import load_encoder, save_model
from simulations.engines.client_states import get_client_states, set_client_states
from simulations.engines.engine import Engine
from simulations.errors import MembersChangedError, RunError
from simulations.progress.display import Display
from simulations.progress.profiling import record_profile
from simulations.record.checkpoint import Checkpoint, NewerVersionError
from simulations.record.client_result import ClientResult
from simulations.record.run_folder import RunFolder, check_same_experiment
from simulations.record.summary import summarise
from simulations.reports.run_report import report
from simulations.server.server import Server
from simulations.settings.experiment import Experiment
from simulations.setup.notes import write_notes
from simulations.setup.prepare import Prepared
from strategies.divergence import directed

_FIX = "put a copy of it there, or start a new run with another --out"


@dataclass(frozen=True)
class Run:
    """A run on disk, finished or not.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Examples
    --------
    With a run's folder::

        finished = Run(Path("runs/quickstart"))
        finished.metrics[-1]["linear_accuracy"]
        encoder = finished.encoder()
    """

    folder: Path

    @property
    def experiment(self) -> Experiment:
        """The resolved config."""
        return RunFolder(self.folder).read_config()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl``, from round 0, the untrained encoder."""
        return RunFolder(self.folder).read_metrics()

    def encoder(self) -> nn.Module:
        """Return the trained encoder in eval mode; see `fedssl.load_encoder`."""
        return load_encoder(self.folder)


def run_rounds(
    prepared: Prepared,
    grid: Engine,
    folder: RunFolder,
    checkpoint: Checkpoint | None,
    *,
    profile: bool = False,
    display: Display,
) -> Run:
    """Run the rounds that remain after a checkpoint, and write the run's folder.

    The folder must be locked.

    Returns
    -------
    Run
        The finished run.

    Raises
    ------
    RunError
        The run cannot go on; all finished rounds are on disk.
    """
    try:
        _run_rounds(prepared, grid, folder, checkpoint, profile, display)
    except WriteError as error:
        raise RunError(f"{error}; all finished rounds are kept: go on by --resume") from error
    try:
        report(folder.path)
    # The run is done and on disk, and its report can be drawn from there at any time.
    except Exception as error:
        display.on_message(
            f"the run is finished, but its report could not be drawn: {error}; then draw it by "
            f"fedssl report {folder.path}"
        )
    return Run(folder.path)


def _run_rounds(
    prepared: Prepared,
    grid: Engine,
    folder: RunFolder,
    checkpoint: Checkpoint | None,
    profile: bool,
    display: Display,
) -> None:
    folder.remove_leftovers()
    device = torch.device(prepared.experiment.engine.device)
    profiling = (
        record_profile(folder.path, device, display.on_profile) if profile else nullcontext()
    )
    # Merging, too, uses a single thread: its sums must not depend on the machine.
    with profiling, one_thread():
        server = Server(
            prepared.experiment,
            prepared.blueprint,
            prepared.splits,
            prepared.partition,
            grid,
            display,
            prepared.on_devices,
        )
        with display.show_run(prepared.experiment, checkpoint.round + 1 if checkpoint else 0):
            _loop_over_rounds(server, grid, folder, prepared, checkpoint, display)
        save_model(folder.model, server.objective, server.blueprint)
        folder.write_summary(summarise(server.experiment, folder.read_metrics()))


def _loop_over_rounds(
    server: Server,
    grid: Engine,
    folder: RunFolder,
    prepared: Prepared,
    checkpoint: Checkpoint | None,
    display: Display,
) -> None:
    if checkpoint:
        server.restore(checkpoint.model, checkpoint.strategy)
        set_client_states(grid, checkpoint.clients)
        folder.forget_after(checkpoint.round)
        folder.write_partition(prepared.counts, prepared.classes, prepared.partition.names)
        for row in folder.read_metrics():
            grid.commit_states(row["round"], set(row["cohort"]) - set(row["failed"]))
    else:
        names = prepared.partition.names
        folder.begin(prepared.experiment, prepared.counts, prepared.classes, names)
        write_notes(folder.path, prepared)
    tensors = directed(server.shared())
    first_round, last_round = checkpoint.round + 1 if checkpoint else 0, server.experiment.rounds
    for server_round in range(first_round, last_round + 1):
        with span("round", round=server_round):
            cohort, row, results = _round(server, grid, folder, prepared, server_round, display)
            with span("save"):
                for result in results:
                    if result.divergence:
                        folder.add_divergence(
                            server_round, result.client, tensors, result.divergence
                        )
                folder.add_row(row)
                predictions = server.predictions() if server_round in (0, last_round) else None
                if predictions:
                    folder.add_predictions("final" if server_round else "untrained", *predictions)
                state = Checkpoint(
                    server_round,
                    server.state(),
                    server.strategy_state(),
                    get_client_states(grid),
                    grid.members.changes if grid.members else (),
                )
                folder.checkpoint.save(state, changed=set(cohort))
            display.on_round_end(row)


def _round(
    server: Server,
    grid: Engine,
    folder: RunFolder,
    prepared: Prepared,
    server_round: int,
    display: Display,
) -> tuple[list[int], dict[str, object], list[ClientResult]]:
    """Run a round; return its cohort, its row of ``metrics.jsonl`` and the clients' results."""
    while True:
        members_before = grid.members.latest() if grid.members else {}
        cohort = server.draw_cohort(server_round) if server_round else []
        if grid.members and grid.members.latest() != members_before:
            counts = prepared.of_members(grid.members.latest()).counts
            folder.write_partition(counts, prepared.classes)
        display.on_round_start(server_round, cohort)
        try:
            return cohort, *server.run_round(server_round, cohort)
        except MembersChangedError as error:
            display.on_message(str(error))


def find_checkpoint(
    folder: RunFolder,
    experiment: Experiment,
    resume: bool,
    on_message: Callable[[str], None] = lambda _: None,
    on_devices: bool = False,
) -> Checkpoint | None:
    """Return the checkpoint from which a run in this folder goes on; None for a new run.

    ``on_message`` is called with a message where the newest checkpoint is damaged, so that the one
    before is used. Where ``on_devices`` is set, the number of clients may differ from that at the
    start of the run.

    Raises
    ------
    ConfigError
        The folder is not empty and ``resume`` is not set, it holds no run, or a run that cannot be
        resumed.
    """
    if folder.is_empty():
        return None
    if not resume:
        raise ConfigError(
            f"{folder.path}: is not empty; go on with the run in it by --resume, or give another "
            "folder by --out"
        )
    if not folder.config.exists():
        raise ConfigError(f"{folder.path}: is not empty, but holds no run (no config.yaml)")
    check_same_experiment(folder.read_config(), experiment, folder.path, on_devices)
    try:
        checkpoint = folder.checkpoint.load(on_message)
    except NewerVersionError as error:
        raise ConfigError(str(error)) from error
    except ValueError as error:
        raise ConfigError(f"{error}; {_FIX}") from error
    if checkpoint is None and folder.has_trained():
        raise ConfigError(
            f"{folder.checkpoint.folder}: the checkpoint is missing, although rounds were "
            f"finished; {_FIX}"
        )
    if checkpoint:
        folder.check_rows(checkpoint.round)
    return checkpoint
