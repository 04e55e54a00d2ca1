"""The clients whose keys lie in the server's folder: looked for while the server runs."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from fedssl.base.errors import ConfigError
from fedssl.base.printable import printable_message
from simulations.deployment.key_record import KeyRecord
from simulations.deployment.pki import MemberKey, ServerKeys
from simulations.deployment.repeating import repeating
from simulations.progress.watcher import Nobody, Watcher
from simulations.record.members import MOST_CLIENTS

LOOK_SECONDS = 2.0
"""How often the folder is looked at."""

_Stamp = dict[str, tuple[int, int, int]]
"""What tells that a file is another: its inode, size and time, by its path."""


class Registrar(Protocol):
    """The SuperLink, which lets only registered nodes in."""

    def register(self, key: bytes) -> int:
        """Let the holder of a key in; return the number of its node.

        Raises
        ------
        ValueError
            The SuperLink refuses the key.
        """

    def unregister(self, node: int) -> None:
        """Let a node in no more."""


@dataclass(frozen=True)
class _Member:
    node: int
    key: MemberKey


class KeyRoster:
    """Who may take part: the clients that have a public key in the server's folder.

    A key that appears is registered at the SuperLink, one that is removed is unregistered. A number
    belongs to the key that first had it; a key that was removed while the server ran is taken in
    again once the server is started anew, since a SuperLink forgets none.

    Parameters
    ----------
    keys : ServerKeys
        The folder.
    record : KeyRecord
        Whose the numbers are.
    said : Callable[[str], None]
        Told who joins and leaves, and which key cannot be used, once each.
    watcher : Watcher | None (default: None)
        Told who may take part, and who may no longer.
    """

    def __init__(
        self,
        keys: ServerKeys,
        record: KeyRecord,
        said: Callable[[str], None],
        watcher: Watcher | None = None,
    ):
        self._keys = keys
        self._watcher = watcher or Nobody()
        self._record = record
        self._said = said
        self._registrar: Registrar | None = None
        self._members: dict[int, _Member] = {}
        self._stamp: _Stamp | None = None
        self._removed: set[str] = set()
        self._faults: dict[str, str] = {}
        # What others see: replaced as a whole, since another thread looks at the folder.
        self.clients: tuple[int, ...] = ()
        """The members' numbers, ascending."""
        self.nodes: Mapping[int, int] = {}
        """Which client each node is."""

    def check(self) -> None:
        """See that every key can be used.

        Raises
        ------
        ConfigError
            Names the first that cannot, and the fix.
        """
        _, faults = self._read()
        for fault in faults.values():
            raise ConfigError(fault)

    def open(self, registrar: Registrar) -> None:
        """Register all that are there at a SuperLink, without a word."""
        self._registrar = registrar
        self._look(first=True)

    def watched(self, seconds: float = LOOK_SECONDS) -> AbstractContextManager[None]:
        """Look at the folder every few seconds while the context lasts."""
        return repeating(seconds, self._try_to_look)

    def _try_to_look(self) -> None:
        try:
            self.look()
        # Such as a disk that is full just now: the next look may succeed.
        except Exception as error:
            self._say("", f"{self._keys.folder}: {type(error).__name__}: {error}")

    def look(self) -> None:
        """Let those join whose keys appeared, and those leave whose keys were removed."""
        self._look(first=False)

    def _look(self, first: bool) -> None:
        assert self._registrar is not None
        if (stamp := _stamp(self._keys)) == self._stamp:
            return
        found, faults = self._read()
        gone = [c for c, member in self._members.items() if found.get(c) != member.key]
        for client in gone:
            member = self._members.pop(client)
            self._removed.add(member.key.fingerprint)
            # First, so that nobody asks it any more.
            self._publish()
            self._registrar.unregister(member.node)
            self._said(f"client {client} is no member any more: its key was removed")
            self._watcher.note("left", client=client, why="its key was removed")
        new = {c: key for c, key in found.items() if c not in self._members}
        self._record.note({client: key.fingerprint for client, key in new.items()})
        for client, key in sorted(new.items()):
            try:
                self._members[client] = _Member(self._registrar.register(key.pem), key)
            except ValueError as error:
                faults[str(key.path)] = f"{key.path}: {error}"
                continue
            if not first:
                self._said(f"client {client} is a member now: its key was added")
        self._publish()
        for path, fault in faults.items():
            self._say(path, fault)
        self._faults = {path: fault for path, fault in self._faults.items() if path in faults}
        self._stamp = stamp

    def _read(self) -> tuple[dict[int, MemberKey], dict[str, str]]:
        """Return the keys that can be used, and why others cannot, by their paths."""
        found: dict[int, MemberKey] = {}
        keys, faults = self._keys.read_public_keys()
        for key in keys:
            if fault := self._fault(key):
                faults[str(key.path)] = f"{key.path}: {fault}"
            else:
                found[key.client] = key
        return found, faults

    def _fault(self, key: MemberKey) -> str | None:
        """Say why a key's holder cannot take part in this run; None where it can."""
        if key.client >= MOST_CLIENTS:
            return (
                f"is the key of client {key.client}; numbers go up to {MOST_CLIENTS - 1}: make it "
                "by fedssl certs"
            )
        if fault := self._record.fault(key.client, key.fingerprint):
            return fault
        if key.fingerprint in self._removed:
            return (
                f"was removed before; client {key.client} is a member again once fedssl serve is "
                "stopped and started with --resume"
            )
        return None

    def _publish(self) -> None:
        nodes = {member.node: client for client, member in self._members.items()}
        self.nodes, self.clients = nodes, tuple(sorted(self._members))
        self._watcher.note("roster", clients=self.clients)

    def _say(self, path: str, fault: str) -> None:
        if self._faults.get(path) != fault:
            self._faults[path] = fault
            self._watcher.note("refused", why=fault)
            self._said(printable_message(fault))


def _stamp(keys: ServerKeys) -> _Stamp:
    found: _Stamp = {}
    for path in keys.public_key_files():
        try:
            status = path.stat()
        except OSError:
            # Just removed, or a link that leads nowhere.
            found[str(path)] = (0, 0, 0)
        else:
            found[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found
