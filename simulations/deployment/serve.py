"""Serve an experiment to devices: `fedssl serve`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from simulations.deployment.audit_log import AuditLog
from simulations.deployment.device_engine import open_device_engine
from simulations.deployment.key_record import KeyRecord
from simulations.deployment.key_roster import KeyRoster
from simulations.deployment.metrics import Address, Metrics
from simulations.deployment.pki import ServerKeys
from simulations.deployment.status import FILE, StatusBoard
from simulations.deployment.superlink import Ports
from simulations.progress.display import Display
from simulations.progress.watcher import WatchedDisplay, Watcher, WatcherGroup
from simulations.record.checkpoint import Checkpoint
from simulations.record.members import MemberRecord
from simulations.record.run_folder import RunFolder
from simulations.server.rounds import Run, find_checkpoint, run_rounds
from simulations.settings.engines import FlowerConfig
from simulations.settings.experiment import Experiment
from simulations.setup.notes import check_skipped, list_notes
from simulations.setup.prepare import prepare_server


def serve(
    experiment: Experiment,
    out: str | Path,
    keys: ServerKeys,
    ports: Ports,
    *,
    resume: bool = False,
    metrics: Address | None = None,
    display: Display,
) -> Run:
    """Run an experiment whose clients are devices.

    Parameters
    ----------
    experiment : Experiment
        The config. Its examples are only used for the central evaluation; its clients are those
        that have a key, so ``partition.clients`` is ignored. An engine other than `flower` is
        replaced by that one with its defaults.
    out : str | Path
        The run's folder, as for `simulations.run`.
    keys : ServerKeys
        The server's certificate, and the public keys of the clients, which may come and go.
    ports : Ports
        The ports to listen on.
    resume : bool
        Go on after the last finished round in ``out``.
    metrics : Address | None
        The address of an HTTP server for metrics; None for none.
    display : Display
        Shows the progress, and clients that come or are lost.

    Returns
    -------
    Run
        The finished run.

    Raises
    ------
    ConfigError
        The config, a key or a port cannot be used, or another process writes to ``out``; nothing
        was written.
    RunError
        There were too few clients for too long; the run can be resumed.
    """
    if not isinstance(experiment.engine, FlowerConfig):
        engine = FlowerConfig(device=experiment.engine.device)
        experiment = experiment.model_copy(update={"engine": engine})
    keys.check()
    for warning in keys.warnings():
        display.on_message(warning)
    ports.check()
    folder = RunFolder(Path(out))
    with ExitStack() as stack:
        metrics_server = stack.enter_context(Metrics(metrics)) if metrics else None
        stack.enter_context(folder.lock(display.on_message))
        record = KeyRecord(folder.federation / "keys.json", new=folder.is_empty())
        KeyRoster(keys, record, display.on_message).check()
        prepared = prepare_server(experiment)
        checkpoint = find_checkpoint(
            folder, prepared.experiment, resume, display.on_message, on_devices=True
        )
        if checkpoint:
            check_skipped(folder.path, prepared)
        for line in list_notes(prepared):
            display.on_message(line)
        rounds = prepared.experiment.rounds
        rows = folder.read_metrics()[: checkpoint.round + 1] if checkpoint else []
        board = StatusBoard(folder.federation / FILE, rounds, rows)
        watcher = WatcherGroup([AuditLog(folder.federation / "audit.jsonl"), board])
        stack.enter_context(board.write_periodically())
        if metrics_server:
            metrics_server.serve(board)
        stack.enter_context(_report_start_and_end(watcher, checkpoint, rounds))
        roster = KeyRoster(keys, record, display.on_message, watcher)
        with open_device_engine(
            prepared, keys, roster, ports, folder, display.on_message, watcher
        ) as grid:
            grid.members = MemberRecord(
                checkpoint.members if checkpoint else (),
                lambda change: watcher.on_event(
                    "members", round=change.round, members=dict(change.members)
                ),
            )
            # The members' earlier numbers of examples, since not all may have connected again yet.
            grid.sizes.update(grid.members.latest())
            grid.wait_for_clients()
            prepared = prepared.of_members({c: grid.size_of(c) for c in roster.clients})
            return run_rounds(
                prepared, grid, folder, checkpoint, display=WatchedDisplay(display, watcher)
            )


@contextmanager
def _report_start_and_end(
    watcher: Watcher, checkpoint: Checkpoint | None, rounds: int
) -> Iterator[None]:
    """Return a context that reports its start and its end to a watcher."""
    first = checkpoint.round + 1 if checkpoint else 0
    watcher.on_event("started", round=first, rounds=rounds, fedssl=version("fedssl"))
    try:
        yield
    except BaseException as error:
        is_interrupt = isinstance(error, KeyboardInterrupt)
        how = "stopped" if is_interrupt else f"{type(error).__name__}: {error}"
        # A full disk has already caused the error that is raised.
        with suppress(OSError):
            watcher.on_event("ended", how=how)
        raise
    watcher.on_event("ended", how="finished")
