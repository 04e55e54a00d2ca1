"""Serve an experiment to devices: `fedssl serve`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from simulations.deployment.audit_log import AuditLog
from simulations.deployment.key_record import KeyRecord
from simulations.deployment.metrics import Address, Metrics
from simulations.deployment.pki import ServerKeys
from simulations.deployment.roster import KeyRoster
from simulations.deployment.status import FILE, StatusBoard
from simulations.deployment.superlink import Ports
from simulations.deployment.superlink_engine import served
from simulations.progress.display import Display
from simulations.progress.watcher import Several, WatchedDisplay, Watcher
from simulations.record.checkpoint import Checkpoint
from simulations.record.members import MemberRecord
from simulations.record.run_folder import RunFolder
from simulations.server.rounds import Run, carry_out, find
from simulations.settings.engines import FlowerConfig
from simulations.settings.experiment import Experiment
from simulations.setup.notes import check_skipped, lines
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
        Its examples are those of the central evaluation; its clients are those that have a key, and
        ``partition.clients`` does not matter. An engine other than `flower` is taken for that one
        with its defaults.
    out : str | Path
        The run's folder, as for `simulations.run`.
    keys : ServerKeys
        The server's certificate, and the public keys of the clients, which may come and go.
    ports : Ports
        Where to listen.
    resume : bool
        Go on after the last finished round in ``out``.
    metrics : Address | None
        Where to serve figures over HTTP; None for nowhere.
    display : Display
        Shows the progress, who comes and who is lost.

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
        Too few clients for too long; the rounds before can be resumed.
    """
    if not isinstance(experiment.engine, FlowerConfig):
        engine = FlowerConfig(device=experiment.engine.device)
        experiment = experiment.model_copy(update={"engine": engine})
    keys.check()
    for warning in keys.warnings():
        display.said(warning)
    ports.check()
    folder = RunFolder(Path(out))
    with ExitStack() as stack:
        figures = stack.enter_context(Metrics(metrics)) if metrics else None
        stack.enter_context(folder.locked(display.said))
        record = KeyRecord(folder.federation / "keys.json", new=folder.is_empty())
        KeyRoster(keys, record, display.said).check()
        prepared = prepare_server(experiment)
        found = find(folder, prepared.experiment, resume, display.said, on_devices=True)
        if found:
            check_skipped(folder.path, prepared)
        for line in lines(prepared):
            display.said(line)
        rounds = prepared.experiment.rounds
        rows = folder.read_metrics()[: found.round + 1] if found else []
        board = StatusBoard(folder.federation / FILE, rounds, rows)
        watcher = Several([AuditLog(folder.federation / "audit.jsonl"), board])
        stack.enter_context(board.written())
        if figures:
            figures.serve(board)
        stack.enter_context(_noted(watcher, found, rounds))
        roster = KeyRoster(keys, record, display.said, watcher)
        with served(prepared, keys, roster, ports, folder, display.said, watcher) as grid:
            grid.members = MemberRecord(
                found.members if found else (),
                lambda change: watcher.note(
                    "members", round=change.round, members=dict(change.members)
                ),
            )
            # As large as they were, though not all of them may be back yet.
            grid.sizes.update(grid.members.latest())
            grid.wait_for_clients()
            there = prepared.of_members({c: grid.size_of(c) for c in roster.clients})
            shown = WatchedDisplay(display, watcher)
            return carry_out(there, grid, folder, found, display=shown)


@contextmanager
def _noted(watcher: Watcher, found: Checkpoint | None, rounds: int) -> Iterator[None]:
    """Note when the server starts, and how it ends."""
    first = found.round + 1 if found else 0
    watcher.note("started", round=first, rounds=rounds, fedssl=version("fedssl"))
    try:
        yield
    except BaseException as error:
        told = isinstance(error, KeyboardInterrupt)
        how = "stopped" if told else f"{type(error).__name__}: {error}"
        # Of a full disk the error itself tells.
        with suppress(OSError):
            watcher.note("ended", how=how)
        raise
    watcher.note("ended", how="finished")
