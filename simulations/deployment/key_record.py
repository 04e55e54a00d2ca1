"""The record of each client's key in a run: a client's number belongs to its first key."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from fedssl.base.config_file import ConfigError
from fedssl.base.files import make_folder
from fedssl.base.plain_files import MEGABYTE, read_json
from simulations.record.files import replace_text
from simulations.record.members import Number

Fingerprint = Annotated[str, Field(pattern=r"^[0-9A-F]{2}(:[0-9A-F]{2}){31}$")]
"""A fingerprint as `clients.keys.fingerprint` returns it."""

_KEYS = TypeAdapter(dict[Number, Fingerprint])
_LONGEST = 128 * MEGABYTE


class KeyRecord:
    """The file ``keys.json``: the fingerprint of the key of each client that ever was a member.

    Parameters
    ----------
    path : Path
        The file.
    new : bool (default: False)
        Whether a run begins, so that no client has a key yet.

    Raises
    ------
    ConfigError
        The file cannot be read.
    """

    def __init__(self, path: Path, new: bool = False):
        self._path = path
        self._keys: dict[int, str] = {}
        if not new and path.exists():
            try:
                self._keys = _KEYS.validate_python(read_json(path, _LONGEST))
            except (ConfigError, ValidationError):
                raise ConfigError(
                    f"{path}: does not tell which client has which key; put the file back from a "
                    "copy, or remove it if each client still has the key that it always had"
                ) from None
        self._clients = {key: client for client, key in self._keys.items()}

    def fault(self, client: int, fingerprint: str) -> str | None:
        """Return an error where a client may not have this key, else None."""
        if self._keys.get(client, fingerprint) != fingerprint:
            return (
                f"client {client} had another key in this run, and a number is never given twice: "
                "give the new device a new number by fedssl certs"
            )
        if (other := self._clients.get(fingerprint, client)) != client:
            return (
                f"is the key of client {other}, too; each client needs its own: make one by fedssl "
                "certs"
            )
        return None

    def add(self, keys: Mapping[int, str]) -> None:
        """Add the keys of these clients to the record.

        Raises
        ------
        WriteError
            The file cannot be written.
        """
        if all(self._keys.get(client) == key for client, key in keys.items()):
            return
        self._keys |= keys
        self._clients |= {key: client for client, key in keys.items()}
        make_folder(self._path.parent)
        text = json.dumps({str(c): key for c, key in sorted(self._keys.items())}, indent=0)
        replace_text(self._path, text + "\n")
