"""The audit log of a federation: a file of events to which lines are only appended."""

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
"""The events that are logged; others are ignored."""


class AuditLog:
    """The file ``audit.jsonl``: a JSON object a line, with ``time`` (ISO, UTC) and ``event``.

    Parameters
    ----------
    path : Path
        The file. Its content stays; an incomplete last line is completed by a line end.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self._is_new = True

    def on_event(self, event: str, **fields: object) -> None:
        """Append an event as a line.

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
            line_end = self._end_of_cut_line() if self._is_new else ""
            append_text(self._path, f"{line_end}{json.dumps(row)}\n")
            self._is_new = False

    def on_connected(self, clients: Collection[int]) -> None:
        """Do nothing: clients that come and go are logged as events."""

    def _end_of_cut_line(self) -> str:
        """Return a line end where a killed server left an incomplete line, else an empty text."""
        make_folder(self._path.parent)
        if not self._path.exists():
            return ""
        with open_regular_file(self._path) as file:
            if file.seek(0, 2) == 0:
                return ""
            file.seek(-1, 2)
            return "" if file.read(1) == b"\n" else "\n"


def now() -> str:
    """Return the current time in UTC, in ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
