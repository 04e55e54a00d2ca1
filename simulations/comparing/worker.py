"""Where a run of a comparison is carried out: in this process, or in another."""

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

Tell = Callable[[Mapping[str, object]], None]
"""Called with the row of each finished round."""

SECONDS_TO_END = 30.0
"""How long a process may take to end once it is told to."""


@dataclass(frozen=True)
class Task:
    """A run that is to be carried out, or gone on with."""

    name: str
    """What a person knows it by: its folder's path below the comparison's."""
    experiment: Experiment
    folder: Path


class Elsewhere(str):
    """Why a run was left alone: another process makes it, so it has not failed."""


class _Telling(QuietDisplay):
    def __init__(self, tell: Tell):
        self._tell = tell

    def on_round_end(self, row: Mapping[str, object]) -> None:
        """Pass on the row."""
        self._tell(row)


def carry_out(task: Task, tell: Tell) -> str | None:
    """Run to the end; return what went wrong, or None.

    It is an `Elsewhere` where another process makes this run.
    """
    try:
        run(task.experiment, task.folder, resume=True, display=_Telling(tell))
    except LockedError as error:
        return Elsewhere(error)
    # Whatever a class of a person's own raises must not stop the other runs.
    except Exception as error:
        kind = "" if isinstance(error, (ValueError, RuntimeError)) else f"{type(error).__name__}: "
        return f"{kind}{error}"
    return None


class Worker:
    """A process that carries out one task after another.

    It is started anew, not forked: PyTorch's and Flower's threads do not survive a fork.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=False)
        self._process.start()
        theirs.close()
        self.task: Task | None = None

    def begin(self, task: Task) -> None:
        """Give it a task."""
        self.task = task
        self.connection.send(task)

    def died(self) -> str:
        """Say how it ended, after it has ended unasked."""
        self._process.join()
        code = self._process.exitcode
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        return f"its process ended with exit code {code}{hint}"

    def stop(self) -> None:
        """End it; what it runs can be gone on with."""
        self._process.terminate()

    def wait(self) -> None:
        """Wait until it has ended; one that does not is killed."""
        self._process.join(SECONDS_TO_END)
        self._process.kill()
        self._process.join()
        self.connection.close()


def _work(connection: Connection) -> None:
    # Ctrl-C reaches all processes of a terminal: the first one decides, and tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        while True:
            task = connection.recv()
            connection.send(("ended", carry_out(task, lambda row: connection.send(("row", row)))))
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        return


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
