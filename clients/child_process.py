"""Start and watch long-running processes, which end with the process that started them.

Each is ``python -m clients.child_process PARENT MODULE:FUNCTION ARGUMENTS…``.
"""

import importlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from clients.flower_adapter.process_output import find_error
from clients.log_file import LogFile, crash_file, format_now
from clients.network import spare_loopback

LAST_LINES = 100
GRACE = 5.0


class ChildProcess:
    """A context in which a command runs in another process.

    However this process ends, the other one ends within a second.

    Parameters
    ----------
    command : str
        ``MODULE:FUNCTION`` of the command, which reads its arguments from ``sys.argv``.
    arguments : Sequence[str]
        The arguments of the command.
    log : Path
        The file to which its output is appended. Where it ends by itself, its last lines are also
        written to a file beside it; see `clients.log_file.crash_file`.
    on_error : Callable[[str], None] | None
        Called with the text of each output line that Flower marks as an error.
    grace : float
        The seconds that the process has to end before it is killed.
    """

    def __init__(
        self,
        command: str,
        arguments: Sequence[str],
        log: Path,
        on_error: Callable[[str], None] | None = None,
        grace: float = GRACE,
    ):
        self.log = log
        self._grace = grace
        self._on_error = on_error
        self._name = command
        self._command = [sys.executable, "-m", __name__, str(os.getpid()), command, *arguments]
        self._last: deque[str] = deque(maxlen=LAST_LINES)

    def __enter__(self) -> Self:
        self._file = LogFile(self.log)
        self._file.write_event(f"start of {self._name}")
        environment = {
            **os.environ,
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PYTHONUNBUFFERED": "1",
            # Flower starts its other commands by name.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }
        spare_loopback(environment)
        # In a new session, so that Ctrl-C only reaches this process, which then ends the other.
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        ended_by_itself = self._process.poll() is not None
        if not ended_by_itself:
            self._process.terminate()
            try:
                self._process.wait(self._grace)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._reader.join(self._grace)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._file.write_event(f"end of {self._name}, exit code {self._process.returncode}")
        self._file.close()
        if ended_by_itself:
            self._write_crash_file()

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def last_lines(self) -> list[str]:
        """The last lines that it printed."""
        return list(self._last)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.rstrip()
            self._file.write(text)
            self._last.append(text)
            if self._on_error and (error := find_error(text)):
                self._on_error(error)

    def _write_crash_file(self) -> None:
        head = f"--- {format_now()}: {self._name} ended with exit code {self._process.returncode}"
        with suppress(OSError):
            crash_file(self.log).write_text(
                "\n".join([head, *self._last, ""]), encoding="utf-8", errors="replace"
            )


def _main(parent: int, command: str, arguments: list[str]) -> None:
    from clients.flower_adapter.parent_process import end_with

    # A shell's background job ignores this signal, which the monitor of the parent needs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with(parent)
    module, _, function = command.partition(":")
    sys.argv = [function, *arguments]
    getattr(importlib.import_module(module), function)()


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
