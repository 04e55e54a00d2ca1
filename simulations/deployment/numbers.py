"""The record of all numbers that a federation ever gave to clients: none is given twice."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clients.keys import write
from fedssl.base.config_file import ConfigError
from fedssl.base.plain_files import MEGABYTE, read_json

MOST = 64 * MEGABYTE
"""The most bytes of a record: some 300,000 clients."""
_VERSION = 1


class Given(BaseModel):
    """A number that was given to a client.

    Parameters
    ----------
    number : int
        The client's.
    fingerprint : str | None
        That of its public key; None where it was given before there was a record, and its key is
        gone.
    given, revoked : str | None
        When, in UTC; None where that is unknown, or it is not revoked.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    number: Annotated[int, Field(ge=0, lt=10**9)]
    fingerprint: str | None = None
    given: str | None = None
    revoked: str | None = None


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: int
    clients: list[Given]


class Numbers:
    """The numbers given, by number.

    Parameters
    ----------
    path : Path
        The record's file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.all: dict[int, Given] = {}
        if path.exists():
            self._read()

    def owner(self, fingerprint: str) -> Given | None:
        """Return the client whose key this is, or was."""
        return next((one for one in self.all.values() if one.fingerprint == fingerprint), None)

    def note(self, number: int, fingerprint: str | None) -> None:
        """Add a number that was given before there was a record, or whose key was not known."""
        known = self.all.setdefault(number, Given(number=number))
        if known.fingerprint is None:
            self.all[number] = known.model_copy(update={"fingerprint": fingerprint})

    def give(self, fingerprint: str) -> int:
        """Give the number after the highest that was ever given."""
        number = max(self.all, default=-1) + 1
        self.all[number] = Given(number=number, fingerprint=fingerprint, given=_now())
        return number

    def revoke(self, number: int) -> None:
        """Note that a client's key no longer counts."""
        before = self.all[number]
        if before.revoked is None:
            self.all[number] = before.model_copy(update={"revoked": _now()})

    def write(self) -> None:
        """Write the record; a WriteError says why it cannot be."""
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
        for one in record.clients:
            if one.number in self.all:
                raise ConfigError(f"{self.path}: has client {one.number} twice; {fix}")
            self.all[one.number] = one


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
