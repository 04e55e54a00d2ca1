"""Runs one task of a comparison, in this process or in another."""

import multiprocessing
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from simulations.progress.display import QuietDisplay
from simulations.record.lock import LockedError
from simulations.running.run import run
from simulations.settings.experiment import Experiment

OnRow = Callable[[Mapping[str, object]], None]
"""Called with the row of each finished round."""

SECONDS_TO_END = 30.0
"""The time that a process gets to end after it was terminated."""


@dataclass(frozen=True)
class Task:
    """A run to start or to resume."""

    name: str
    """The run's path below the comparison's folder."""
    experiment: Experiment
    folder: Path


class RunningElsewhere(str):
    """The reason why a run was skipped: another process runs it, so it has not failed."""


class _RowDisplay(QuietDisplay):
    def __init__(self, on_row: OnRow):
        self._on_row = on_row

    def on_round_end(self, row: Mapping[str, object]) -> None:
        """Pass on the row."""
        self._on_row(row)


def run_task(task: Task, on_row: OnRow) -> str | None:
    """Run a task to its end; return the error message, or None if it succeeded.

    The message is a `RunningElsewhere` if another process runs this run.
    """
    try:
        run(task.experiment, task.folder, resume=True, display=_RowDisplay(on_row))
    except LockedError as error:
        return RunningElsewhere(error)
    # Whatever a user's own class raises must not stop the other runs.
    except Exception as error:
        kind = "" if isinstance(error, (ValueError, RuntimeError)) else f"{type(error).__name__}: "
        return f"{kind}{error}"
    return None


class Worker:
    """A process that runs one task after another.

    It is spawned, not forked, because PyTorch's and Flower's threads do not survive a fork.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=False)
        self._process.start()
        theirs.close()
        self.task: Task | None = None

    def begin(self, task: Task) -> None:
        """Send the process a task."""
        self.task = task
        self.connection.send(task)

    def died(self) -> str:
        """Return an error message for a process that ended by itself."""
        self._process.join()
        code = self._process.exitcode
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        return f"its process ended with exit code {code}{hint}"

    def stop(self) -> None:
        """Terminate the process; its run can be resumed."""
        self._process.terminate()

    def wait(self) -> None:
        """Wait until the process has ended; kill it if it takes too long."""
        self._process.join(SECONDS_TO_END)
        self._process.kill()
        self._process.join()
        self.connection.close()


def _work(connection: Connection) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent decides, and terminates the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        while True:
            task = connection.recv()
            connection.send(("ended", run_task(task, lambda row: connection.send(("row", row)))))
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        return


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
