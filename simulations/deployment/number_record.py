"""The record of all client numbers of a federation; no number is given twice."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clients.keys import write
from fedssl.base.config_file import ConfigError
from fedssl.base.plain_files import MEGABYTE, read_json

MOST = 64 * MEGABYTE
"""The most bytes of a record; one of 300,000 clients has fewer."""
_VERSION = 1


class ClientNumber(BaseModel):
    """A number that was given to a client.

    Parameters
    ----------
    number : int
        The number.
    fingerprint : str | None
        The fingerprint of the client's public key; None where the number was given before there was
        a record, and the key is gone.
    given, revoked : str | None
        The times in UTC; None where the time is unknown, or the number is not revoked.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    number: Annotated[int, Field(ge=0, lt=10**9)]
    fingerprint: str | None = None
    given: str | None = None
    revoked: str | None = None


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: int
    clients: list[ClientNumber]


class NumberRecord:
    """All client numbers that were ever given.

    Parameters
    ----------
    path : Path
        The file of the record.
    """

    def __init__(self, path: Path):
        self.path = path
        self.all: dict[int, ClientNumber] = {}
        if path.exists():
            self._read()

    def owner(self, fingerprint: str) -> ClientNumber | None:
        """Return the client that has, or had, this key; None where no client does."""
        return next(
            (entry for entry in self.all.values() if entry.fingerprint == fingerprint), None
        )

    def add(self, number: int, fingerprint: str | None) -> None:
        """Add a number that was given before there was a record, or whose key was not known."""
        entry = self.all.setdefault(number, ClientNumber(number=number))
        if entry.fingerprint is None:
            self.all[number] = entry.model_copy(update={"fingerprint": fingerprint})

    def give(self, fingerprint: str) -> int:
        """Give a new number, the highest plus one, to a key; return the number."""
        number = max(self.all, default=-1) + 1
        self.all[number] = ClientNumber(number=number, fingerprint=fingerprint, given=_now())
        return number

    def revoke(self, number: int) -> None:
        """Record that a client's key is revoked."""
        before = self.all[number]
        if before.revoked is None:
            self.all[number] = before.model_copy(update={"revoked": _now()})

    def write(self) -> None:
        """Write the record; raise a WriteError where that fails."""
        clients = [self.all[number] for number in sorted(self.all)]
        record = _Record(version=_VERSION, clients=clients)
        write(self.path, (record.model_dump_json(indent=1) + "\n").encode())

    def _read(self) -> None:
        content = read_json(self.path, MOST)
        fix = "put back a good copy, since it says which numbers were given"
        version = content.get("version") if isinstance(content, dict) else None
        if isinstance(version, int) and version > _VERSION:
            raise ConfigError(f"{self.path}: was written by a newer fedssl; install that one")
        try:
            record = _Record.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "it"
            raise ConfigError(f"{self.path}: {where}: {first['msg']}; {fix}") from None
        for entry in record.clients:
            if entry.number in self.all:
                raise ConfigError(f"{self.path}: has client {entry.number} twice; {fix}")
            self.all[entry.number] = entry


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
