"""The log of a process that runs for months: it goes on after a start, and has a limited size."""

import logging
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

BYTES, OLDER = 10_000_000, 2
"""The size at which a log is put aside, and how many older ones are kept beside it."""


class LogFile:
    """A text file that is appended to, line by line.

    At `BYTES` it becomes ``NAME.1``, what that was ``NAME.2``, and so on. A full disk loses lines,
    and raises nothing.

    Parameters
    ----------
    path : Path
        Where; its folder is made if need be.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._handler = _Silent(path, maxBytes=BYTES, backupCount=OLDER, encoding="utf-8")

    def write(self, line: str) -> None:
        """Append a line."""
        self._handler.emit(logging.makeLogRecord({"msg": line}))

    def note(self, what: str) -> None:
        """Append a line of our own, with the time."""
        self.write(f"--- {format_now()}: {what}")

    def close(self) -> None:
        """Close the file."""
        # A full disk is noticed here once more, by what the buffer still holds.
        with suppress(OSError):
            self._handler.close()


class _Silent(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Let a line go that cannot be written: the process that it is of must not wait for it."""


def crash_file(log: Path) -> Path:
    """Return where the last words of a process are kept that ended by itself."""
    return log.with_suffix(f".crash{log.suffix}")


def format_now() -> str:
    """Return the time, as logs have it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
