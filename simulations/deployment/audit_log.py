"""What happened in a federation, and when: a file to which lines are only ever added."""

import json
import threading
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from fedssl.base.files import append_text, make_folder
from fedssl.base.plain_files import open_regular_file
from fedssl.base.printable import printable

EVENTS = (
    "started",
    "joined",
    "refused",
    "left",
    "members",
    "sent",
    "failed",
    "round",
    "ended",
)
"""What is noted; other events are not."""


class AuditLog:
    """The file ``audit.jsonl``: a JSON object a line, with ``time`` (ISO, UTC) and ``event``.

    Parameters
    ----------
    path : Path
        The file. What is there stays; a last line that was cut short is ended.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self._is_new = True

    def note(self, event: str, **fields: object) -> None:
        """Add a line.

        Raises
        ------
        WriteError
            It cannot be written.
        """
        if event not in EVENTS:
            return
        row = {"time": now(), "event": event}
        for name, value in fields.items():
            row[name] = printable(value) if isinstance(value, str) else value  # type: ignore[assignment]
        with self._lock:
            begin = self._begin() if self._is_new else ""
            append_text(self._path, f"{begin}{json.dumps(row)}\n")
            self._is_new = False

    def seen(self, clients: Collection[int]) -> None:
        """Do nothing: who comes and goes is noted as an event."""

    def _begin(self) -> str:
        """Return what ends a line that a killed server left unfinished."""
        make_folder(self._path.parent)
        if not self._path.exists():
            return ""
        with open_regular_file(self._path) as file:
            if file.seek(0, 2) == 0:
                return ""
            file.seek(-1, 2)
            return "" if file.read(1) == b"\n" else "\n"


def now() -> str:
    """Return the time, in UTC and to the millisecond, as ISO 8601 has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
