"""The log of a long-running process: it is appended to after a restart, and limited in size."""

import logging
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

BYTES, OLDER = 10_000_000, 2
"""The size at which a log is renamed, and the number of older logs that are kept."""


class LogFile:
    """A text file that is appended to, line by line.

    At `BYTES` it is renamed ``NAME.1``, an older ``NAME.1`` becomes ``NAME.2``, and so on. With a
    full disk lines are lost without an error.

    Parameters
    ----------
    path : Path
        The file; its folder is created if needed.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._handler = _Silent(path, maxBytes=BYTES, backupCount=OLDER, encoding="utf-8")

    def write(self, line: str) -> None:
        """Append a line."""
        self._handler.emit(logging.makeLogRecord({"msg": line}))

    def write_event(self, text: str) -> None:
        """Append a line about the process itself, with the time."""
        self.write(f"--- {format_now()}: {text}")

    def close(self) -> None:
        """Close the file."""
        # A full disk is noticed here once more, by what the buffer still holds.
        with suppress(OSError):
            self._handler.close()


class _Silent(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a line that cannot be written, so that the process goes on."""


def crash_file(log: Path) -> Path:
    """Return the file for the last lines of a process that ended by itself.

    >>> crash_file(Path("superlink.log")).name
    'superlink.crash.log'
    """
    return log.with_suffix(f".crash{log.suffix}")


def format_now() -> str:
    """Return the current time in the format of logs: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
