"""Start and watch long-running processes, which end with the process that started them.

``python -m clients.child_process PARENT MODULE:FUNCTION ARGUMENTS…`` is one of them.
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
    """A command in a process of its own: a context in which it runs.

    However this process ends, the other does within a second.

    Parameters
    ----------
    command : str
        ``MODULE:FUNCTION`` of the command, which reads its arguments from ``sys.argv``.
    arguments : Sequence[str]
        These.
    log : Path
        Where its output goes, after what is there. What it printed last before it ended by itself
        is kept beside it, until that happens again.
    on_error : Callable[[str], None] | None
        Called with what each of its lines says that Flower marks as an error.
    grace : float
        Seconds that it has to end before it is killed.
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
        self._file.note(f"start of {self._name}")
        environment = {
            **os.environ,
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PYTHONUNBUFFERED": "1",
            # Flower starts its other commands by name.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }
        spare_loopback(environment)
        # A session of its own: Ctrl-C reaches us alone, and we end it in order.
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
        by_itself = self._process.poll() is not None
        if not by_itself:
            self._process.terminate()
            try:
                self._process.wait(self._grace)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._reader.join(self._grace)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._file.note(f"end of {self._name}, exit code {self._process.returncode}")
        self._file.close()
        if by_itself:
            self._keep_last_words()

    @property
    def ended(self) -> bool:
        """Whether it runs no longer."""
        return self._process.poll() is not None

    @property
    def last_lines(self) -> list[str]:
        """What it printed last."""
        return list(self._last)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.rstrip()
            self._file.write(text)
            self._last.append(text)
            if self._on_error and (error := find_error(text)):
                self._on_error(error)

    def _keep_last_words(self) -> None:
        head = f"--- {format_now()}: {self._name} ended with exit code {self._process.returncode}"
        with suppress(OSError):
            crash_file(self.log).write_text(
                "\n".join([head, *self._last, ""]), encoding="utf-8", errors="replace"
            )


def _main(parent: int, command: str, arguments: list[str]) -> None:
    from clients.flower_adapter.parent_process import end_with

    # That of a shell's background job is ignored, and by it the monitor ends this process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with(parent)
    module, _, function = command.partition(":")
    sys.argv = [function, *arguments]
    getattr(importlib.import_module(module), function)()


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
