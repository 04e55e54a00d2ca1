"""The status of a federation: its clients and its progress, for `fedssl status` and metrics."""

import re
import threading
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedssl.base.config_file import ConfigError
from fedssl.base.files import make_folder
from fedssl.base.plain_files import MEGABYTE, read_text
from fedssl.base.printable import printable
from simulations.deployment.audit_log import now
from simulations.deployment.periodic_call import call_periodically
from simulations.record.files import replace_text
from simulations.record.lock import is_held
from simulations.record.members import Examples, Number
from simulations.record.tables import Bytes, Row, Seconds, Share

FILE = "status.json"
LONGEST = 256 * MEGABYTE
"""The most bytes of a status; that of a million clients has fewer."""
ANSWER_SECONDS = 10.0
"""The seconds that a server has to answer."""
SEEN_SECONDS = 10.0
"""The precision, in seconds, of the time at which a client was last seen."""
WRITE_SECONDS = 1.0
"""The least seconds between two writes of the file."""

Time = Annotated[str, Field(max_length=40)]
"""ISO 8601, UTC."""
Words = Annotated[str, Field(max_length=1000)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Kind = Literal["refused", "lost", "error"]
"""A reply that cannot be used, a client that went away or was too late, or its own error."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class Failure(_Part):
    """The reason why a client failed in a round, or was refused."""

    why: Words
    round: Count | None = None
    """The round; None where the client was refused when it connected."""


class ClientStatus(_Part):
    """A client that is, or was, a member."""

    member: bool = True
    """Whether it may take part."""
    here: bool = False
    """Whether it is connected."""
    last_seen: Time | None = None
    examples: Examples = 0
    rounds: Count = 0
    """The number of rounds in which its model was merged."""
    failure: Failure | None = None
    """The last failure."""


class Status(_Part):
    """The status of a federation."""

    version: Literal[1] = 1
    phase: Literal["waiting", "round", "between rounds", "ended"] = "waiting"
    since: Time = Field(default_factory=now)
    """The time when the phase began."""
    updated: Time = Field(default_factory=now)
    ended: Words = ""
    """The way in which the run ended."""
    round: Annotated[int, Field(ge=0)] = 0
    """The current round, or the last one."""
    rounds: Count = 0
    """The number of rounds of the experiment."""
    clients: dict[Number, ClientStatus] = {}
    failures: dict[Kind, Count] = {}
    """The number of failed replies since the server was started, by kind."""
    bytes_up: Bytes = 0
    bytes_down: Bytes = 0
    round_seconds: Seconds | None = None
    """The seconds of the last finished round."""
    linear_accuracy: Share | None = None
    """The latest accuracy of the linear probe."""

    @property
    def members(self) -> dict[int, ClientStatus]:
        """The clients that may take part."""
        return {number: client for number, client in self.clients.items() if client.member}


def parse_status(text: str, source: str) -> Status:
    """Return the status in an untrusted text; raise a ConfigError where it is invalid."""
    try:
        return Status.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = printable(".".join(map(str, problem["loc"])) or "it", 80)
        raise ConfigError(
            f"{source}: is no status of a federation: {place}: {printable(problem['msg'])}"
        ) from None


def read_status(path: Path) -> Status:
    """Return the status in a file; raise a ConfigError where it is invalid."""
    return parse_status(read_text(path, LONGEST), str(path))


def read_run(folder: Path) -> tuple[Status, str]:
    """Return the status of the run in a folder, and the same in words.

    Raises
    ------
    ConfigError
        There is no status, or it cannot be read.
    """
    path = folder / "federation" / FILE
    if not path.exists():
        raise ConfigError(
            f"{path}: there is no such file; give the folder of a run that fedssl serve began"
        )
    status = read_status(path)
    if is_held(folder):
        return status, describe_status(status)
    if status.phase == "ended":
        return status, describe_status(status)
    # It was killed, so no client is connected any more.
    for client in status.clients.values():
        client.here = False
    return status, (
        f"not running: it was killed after {_when(status.updated)}, in {_progress(status)}; go on "
        "with it by --resume"
    )


def ask_server(address: str) -> tuple[Status, str]:
    """Return the status from a running server, and the same in words.

    Parameters
    ----------
    address : str
        ``HOST:PORT`` of its ``--metrics``.

    Raises
    ------
    ConfigError
        It does not answer, or not with a status.
    """
    if not re.fullmatch(r"[^\s/?#@]+:\d{1,5}", address):
        raise ConfigError(f"--server = {address}: give HOST:PORT of the server's --metrics")
    try:
        # No proxy: the server must be asked directly.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{address}/status", timeout=ANSWER_SECONDS) as answer:
            content = answer.read(LONGEST + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise ConfigError(
            f"--server = {address}: does not answer ({error}); does fedssl serve run there, with "
            "--metrics?"
        ) from None
    if len(content) > LONGEST:
        raise ConfigError(f"--server = {address}: its answer is too long to be a status")
    status = parse_status(content.decode(errors="replace"), f"the answer of {address}")
    return status, describe_status(status)


def describe_status(status: Status) -> str:
    """Return the status of a federation in words."""
    if status.phase == "ended":
        return f"not running: {status.ended} at {_when(status.since)}, in {_progress(status)}"
    here = sum(client.here for client in status.clients.values())
    doing = {
        "waiting": "waiting for clients",
        "round": _progress(status),
        "between rounds": f"after {_progress(status)}",
    }[status.phase]
    return printable(
        f"{doing} since {_when(status.since)}; {here} of {len(status.members)} clients are here"
    )


def _progress(status: Status) -> str:
    return f"round {status.round} of {status.rounds}"


def _when(time: str) -> str:
    return printable(time[:19].replace("T", " ")) + " UTC"


class StatusBoard:
    """A watcher that keeps the current status, and a file of it.

    Parameters
    ----------
    path : Path
        The file; it is replaced at most once a second, and only after a change.
    rounds : int
        The number of rounds of the experiment.
    rows : Sequence[Row]
        The rows of the finished rounds of a resumed run. The times at which clients were last seen
        come from the file, if it is valid.
    """

    def __init__(self, path: Path, rounds: int, rows: Sequence[Row] = ()):
        self._path = path
        self._lock = threading.RLock()
        self._changed = True
        self._seen_at = 0.0
        self._status = Status(rounds=rounds)
        if rows:
            self._recall()
        for row in rows:
            self._count(row)

    def on_event(self, event: str, **fields: object) -> None:
        """Update the status by an event."""
        with self._lock:
            change = getattr(self, f"_on_{event}", None)
            if change is not None:
                change(**fields)
                self._changed = True

    def on_connected(self, clients: Collection[int]) -> None:
        """Update which clients are connected."""
        with self._lock:
            connected = set(clients)
            status, time_of_now = self._status, now()
            for number, client in status.clients.items():
                if client.here != (number in connected):
                    client.here = number in connected
                    self._changed = True
                if client.here:
                    client.last_seen = time_of_now
            if time.monotonic() - self._seen_at > SEEN_SECONDS:
                self._seen_at = time.monotonic()
                self._changed = True

    def status(self) -> Status:
        """Return a copy of the current status."""
        with self._lock:
            self._status.updated = now()
            return self._status.model_copy(deep=True)

    def text(self) -> str:
        """Return the current status as JSON."""
        with self._lock:
            self._status.updated = now()
            return self._status.model_dump_json()

    def write(self) -> None:
        """Write the file, if something has changed.

        Raises
        ------
        WriteError
            It cannot be written.
        """
        with self._lock:
            if not self._changed:
                return
            text, self._changed = self.text(), False
        make_folder(self._path.parent)
        replace_text(self._path, text + "\n")

    @contextmanager
    def write_periodically(self) -> Iterator[None]:
        """Return a context in which changes are written every second, and at its start and end."""

        def try_to_write() -> None:
            try:
                self.write()
            except OSError:
                # The run itself reports a full disk; the file is written once there is space.
                self._changed = True

        self.write()
        try:
            with call_periodically(WRITE_SECONDS, try_to_write):
                yield
        finally:
            self.write()

    def _recall(self) -> None:
        """Take from the file what the rows do not contain."""
        try:
            before = read_status(self._path)
        except ConfigError:
            return
        for number, client in before.clients.items():
            reset = {"member": False, "here": False, "rounds": 0}
            self._status.clients[number] = client.model_copy(update=reset)

    def _client(self, number: int) -> ClientStatus:
        return self._status.clients.setdefault(number, ClientStatus(member=False))

    def _enter(self, phase: Literal["waiting", "round", "between rounds", "ended"]) -> None:
        self._status.phase, self._status.since = phase, now()

    def _count(self, row: Row) -> None:
        self._status.round = row["round"]
        self._status.bytes_up += row["bytes_up"]
        self._status.bytes_down += row["bytes_down"]
        self._status.round_seconds = row["seconds"]
        if row.get("linear_accuracy") is not None:
            self._status.linear_accuracy = row["linear_accuracy"]
        for client in set(row["cohort"]) - set(row["failed"]):
            self._client(client).rounds += 1

    def _on_roster(self, clients: Collection[int]) -> None:
        for number in clients:
            self._client(number).member = True
        for number, client in self._status.clients.items():
            client.member = number in clients
            client.here = client.here and client.member

    def _on_joined(self, client: int, examples: int) -> None:
        status = self._client(client)
        status.examples, status.here, status.last_seen = examples, True, now()

    def _on_members(self, round: int, members: Mapping[str, int]) -> None:
        for number, examples in members.items():
            self._client(int(number)).examples = examples

    def _on_refused(self, why: str, client: int | None = None, node: int | None = None) -> None:
        if client is not None:
            self._client(client).failure = Failure(why=printable(why))

    def _on_begun(self, round: int, clients: Sequence[int]) -> None:
        self._status.round = round
        self._enter("round")

    def _on_failed(self, round: int, client: int, why: str, kind: Kind) -> None:
        failure = Failure(why=printable(why), round=round)
        self._client(client).failure = failure
        self._status.failures[kind] = self._status.failures.get(kind, 0) + 1

    def _on_round(self, **row: object) -> None:
        self._count(dict(row))
        self._enter("between rounds")

    def _on_ended(self, how: str) -> None:
        self._status.ended = printable(how)
        for client in self._status.clients.values():
            client.here = False
        self._enter("ended")
