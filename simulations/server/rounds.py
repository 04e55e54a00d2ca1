"""The rounds of a run, and what is kept of each on disk."""

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
from simulations.engines.client_states import give_to_clients, kept_by_clients
from simulations.engines.engine import Engine
from simulations.errors import MembersChangedError, RunError
from simulations.progress.display import Display
from simulations.progress.profiling import profiled
from simulations.record.answer import Answer
from simulations.record.checkpoint import Checkpoint, NewerVersionError
from simulations.record.run_folder import RunFolder, check_same
from simulations.record.summary import summarise
from simulations.reports.run_report import report
from simulations.server.server import Server
from simulations.settings.experiment import Experiment
from simulations.setup.notes import write_notes
from simulations.setup.prepare import Prepared
from strategies.divergence import directed

_WITHOUT = "put a copy of it there, or start a new run with another --out"


@dataclass(frozen=True)
class Run:
    """A run on disk, finished or not."""

    folder: Path
    """Where it is."""

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


def carry_out(
    prepared: Prepared,
    grid: Engine,
    folder: RunFolder,
    found: Checkpoint | None,
    *,
    profile: bool = False,
    display: Display,
) -> Run:
    """Run the rounds that are left, and write the rest of the run's folder.

    The folder must be locked.
    """
    try:
        _carry_out(prepared, grid, folder, found, profile, display)
    except WriteError as error:
        raise RunError(f"{error}; all finished rounds are kept: go on by --resume") from error
    try:
        report(folder.path)
    # The run is done and on disk, and its report can be drawn from there at any time.
    except Exception as error:
        display.said(
            f"the run is finished, but its report could not be drawn: {error}; then draw it by "
            f"fedssl report {folder.path}"
        )
    return Run(folder.path)


def _carry_out(
    prepared: Prepared,
    grid: Engine,
    folder: RunFolder,
    found: Checkpoint | None,
    profile: bool,
    display: Display,
) -> None:
    folder.remove_leftovers()
    device = torch.device(prepared.experiment.engine.device)
    recorded = profiled(folder.path, device, display.profiled) if profile else nullcontext()
    # Merging, too, uses a single thread: its sums must not depend on the machine.
    with recorded, one_thread():
        server = Server(
            prepared.experiment,
            prepared.blueprint,
            prepared.splits,
            prepared.partition,
            grid,
            display,
            prepared.on_devices,
        )
        with display.running(prepared.experiment, found.round + 1 if found else 0):
            _rounds(server, grid, folder, prepared, found, display)
        save_model(folder.model, server.objective, server.blueprint)
        folder.write_summary(summarise(server.experiment, folder.read_metrics()))


def _rounds(
    server: Server,
    grid: Engine,
    folder: RunFolder,
    prepared: Prepared,
    found: Checkpoint | None,
    display: Display,
) -> None:
    if found:
        server.restore(found.model, found.strategy)
        give_to_clients(grid, found.clients)
        folder.forget_after(found.round)
        folder.write_partition(prepared.counts, prepared.classes, prepared.partition.names)
        for row in folder.read_metrics():
            grid.settle(row["round"], set(row["cohort"]) - set(row["failed"]))
    else:
        names = prepared.partition.names
        folder.begin(prepared.experiment, prepared.counts, prepared.classes, names)
        write_notes(folder.path, prepared)
    tensors = directed(server.shared())
    for number in range(found.round + 1 if found else 0, server.experiment.rounds + 1):
        with span("round", round=number):
            cohort, row, answers = _round(server, grid, folder, prepared, number, display)
            with span("save"):
                for answer in answers:
                    if answer.divergence:
                        folder.add_divergence(number, answer.client, tensors, answer.divergence)
                folder.add_row(row)
                if number in (0, server.experiment.rounds) and (seen := server.predictions()):
                    folder.add_predictions("final" if number else "untrained", *seen)
                now = Checkpoint(
                    number,
                    server.state(),
                    server.strategy_state(),
                    kept_by_clients(grid),
                    grid.members.changes if grid.members else (),
                )
                folder.checkpoint.save(now, changed=set(cohort))
            display.ended(row)


def _round(
    server: Server,
    grid: Engine,
    folder: RunFolder,
    prepared: Prepared,
    number: int,
    display: Display,
) -> tuple[list[int], dict[str, object], list[Answer]]:
    """Run a round; return its cohort, its row and the clients' answers."""
    while True:
        before = grid.members.latest() if grid.members else {}
        cohort = server.draw_cohort(number) if number else []
        if grid.members and grid.members.latest() != before:
            counts = prepared.of_members(grid.members.latest()).counts
            folder.write_partition(counts, prepared.classes)
        display.began(number, cohort)
        try:
            return cohort, *server.round(number, cohort)
        except MembersChangedError as error:
            display.said(str(error))


def find(
    folder: RunFolder,
    experiment: Experiment,
    resume: bool,
    said: Callable[[str], None] = lambda _: None,
    on_devices: bool = False,
) -> Checkpoint | None:
    """Look at what is in the folder: refuse to overwrite it, or find where to go on.

    ``said`` is told where the newest checkpoint is damaged, and the one before is taken.
    ``on_devices`` the number of clients may be another than the run began with.

    Raises
    ------
    ConfigError
        It holds something else, or a run that cannot be gone on with.
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
    check_same(folder.read_config(), experiment, folder.path, on_devices)
    try:
        found = folder.checkpoint.load(said)
    except NewerVersionError as error:
        raise ConfigError(str(error)) from error
    except ValueError as error:
        raise ConfigError(f"{error}; {_WITHOUT}") from error
    if found is None and folder.has_trained():
        raise ConfigError(
            f"{folder.checkpoint.folder}: the checkpoint is missing, although rounds were "
            f"finished; {_WITHOUT}"
        )
    if found:
        folder.check_rows(found.round)
    return found
