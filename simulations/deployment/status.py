"""Who is in a federation, and how far it is: what `fedssl status` shows, and metrics tell."""

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
from simulations.deployment.repeating import repeating
from simulations.record.files import replace_text
from simulations.record.lock import is_held
from simulations.record.members import Examples, Number
from simulations.record.tables import Bytes, Row, Seconds, Share

FILE = "status.json"
LONGEST = 256 * MEGABYTE
"""Bytes of a status: a million clients take fewer."""
ANSWER_SECONDS = 10.0
"""How long a server has to answer."""
SEEN_SECONDS = 10.0
"""How exact it is when a client was seen last."""
WRITE_SECONDS = 1.0
"""How often the file is replaced at most."""

Time = Annotated[str, Field(max_length=40)]
"""ISO 8601, UTC."""
Words = Annotated[str, Field(max_length=1000)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Kind = Literal["refused", "lost", "error"]
"""A reply that cannot be used, a client that went away or was too late, or its own error."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class Failure(_Part):
    """Why a client failed in a round, or took no part at all."""

    why: Words
    round: Count | None = None
    """None where it took no part in any: it was refused as it came."""


class ClientStatus(_Part):
    """A client that is, or was, a member."""

    member: bool = True
    """Whether it may take part."""
    here: bool = False
    """Whether it is connected."""
    last_seen: Time | None = None
    examples: Examples = 0
    rounds: Count = 0
    """In how many rounds its model counted."""
    failure: Failure | None = None
    """The last one."""


class Status(_Part):
    """How a federation stands."""

    version: Literal[1] = 1
    phase: Literal["waiting", "round", "between rounds", "ended"] = "waiting"
    since: Time = Field(default_factory=now)
    """When the phase began."""
    updated: Time = Field(default_factory=now)
    ended: Words = ""
    """How it ended."""
    round: Annotated[int, Field(ge=0)] = 0
    """The round that runs, or ran last."""
    rounds: Count = 0
    """How many there are to be."""
    clients: dict[Number, ClientStatus] = {}
    failures: dict[Kind, Count] = {}
    """Replies that did not count, since the server was started."""
    bytes_up: Bytes = 0
    bytes_down: Bytes = 0
    round_seconds: Seconds | None = None
    """Of the last finished round."""
    linear_accuracy: Share | None = None
    """The last that was measured."""

    @property
    def members(self) -> dict[int, ClientStatus]:
        """Those that may take part."""
        return {number: client for number, client in self.clients.items() if client.member}


def parse_status(text: str, source: str) -> Status:
    """Read a status that may be anybody's; a ConfigError says that it is none."""
    try:
        return Status.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = printable(".".join(map(str, problem["loc"])) or "it", 80)
        raise ConfigError(
            f"{source}: is no status of a federation: {place}: {printable(problem['msg'])}"
        ) from None


def read_status(path: Path) -> Status:
    """Read a file that `StatusBoard` wrote; a ConfigError says what is wrong with it."""
    return parse_status(read_text(path, LONGEST), str(path))


def read_run(folder: Path) -> tuple[Status, str]:
    """Return the status of a run in a folder, and say in words how the run stands.

    Raises
    ------
    ConfigError
        There is none, or it cannot be read.
    """
    path = folder / "federation" / FILE
    if not path.exists():
        raise ConfigError(
            f"{path}: there is no such file; give the folder of a run that fedssl serve began"
        )
    found = read_status(path)
    if is_held(folder):
        return found, described(found)
    if found.phase == "ended":
        return found, described(found)
    # It was killed: nobody is connected to it any more.
    for client in found.clients.values():
        client.here = False
    return found, (
        f"not running: it was killed after {_when(found.updated)}, in {_progress(found)}; go on "
        "with it by --resume"
    )


def ask_server(address: str) -> tuple[Status, str]:
    """Return the status that a server tells, and the same in words.

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
        # No proxy: whoever sits between must not be asked.
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
    found = parse_status(content.decode(errors="replace"), f"the answer of {address}")
    return found, described(found)


def described(status: Status) -> str:
    """Say how a federation stands."""
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
    """Keeps the status by what happens, and a file of it.

    Parameters
    ----------
    path : Path
        The file; it is replaced, as a whole, at most once a second while something changes.
    rounds : int
        How many there are to be.
    rows : Sequence[Row]
        The finished rounds of a run that goes on; who was seen when is in the file, if it is whole.
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

    def note(self, event: str, **fields: object) -> None:
        """Take note of an event."""
        with self._lock:
            change = getattr(self, f"_on_{event}", None)
            if change is not None:
                change(**fields)
                self._changed = True

    def seen(self, clients: Collection[int]) -> None:
        """Take note of who is connected now."""
        with self._lock:
            there = set(clients)
            status, time_of_now = self._status, now()
            for number, client in status.clients.items():
                if client.here != (number in there):
                    client.here = number in there
                    self._changed = True
                if client.here:
                    client.last_seen = time_of_now
            if time.monotonic() - self._seen_at > SEEN_SECONDS:
                self._seen_at = time.monotonic()
                self._changed = True

    def status(self) -> Status:
        """Return how it stands now."""
        with self._lock:
            self._status.updated = now()
            return self._status.model_copy(deep=True)

    def text(self) -> str:
        """Return how it stands now, as JSON."""
        with self._lock:
            self._status.updated = now()
            return self._status.model_dump_json()

    def write(self) -> None:
        """Replace the file, if something has changed.

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
    def written(self) -> Iterator[None]:
        """Write the file now, every second while something changes, and at the end."""

        def keep() -> None:
            try:
                self.write()
            except OSError:
                # Of a full disk the run itself tells; it is written once there is room.
                self._changed = True

        self.write()
        try:
            with repeating(WRITE_SECONDS, keep):
                yield
        finally:
            self.write()

    def _recall(self) -> None:
        """Take from the file what the rows do not tell."""
        try:
            before = read_status(self._path)
        except ConfigError:
            return
        for number, client in before.clients.items():
            kept = {"member": False, "here": False, "rounds": 0}
            self._status.clients[number] = client.model_copy(update=kept)

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
        there = self._client(client)
        there.examples, there.here, there.last_seen = examples, True, now()

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
