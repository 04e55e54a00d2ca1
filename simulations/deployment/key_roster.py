"""The roster of clients whose public keys are in the server's folder, watched while it runs."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from fedssl.base.errors import ConfigError
from fedssl.base.printable import printable_message
from simulations.deployment.key_record import KeyRecord
from simulations.deployment.periodic_call import call_periodically
from simulations.deployment.pki import MemberKey, ServerKeys
from simulations.progress.watcher import SilentWatcher, Watcher
from simulations.record.members import MOST_CLIENTS

LOOK_SECONDS = 2.0
"""The seconds between two looks at the folder."""

_Stamp = dict[str, tuple[int, int, int]]
"""Maps a path to its inode, size and time, which change when the file is replaced."""


class Registrar(Protocol):
    """The SuperLink, which only accepts registered nodes."""

    def register(self, key: bytes) -> int:
        """Register a key; return the number of its node.

        Raises
        ------
        ValueError
            The SuperLink refuses the key.
        """

    def unregister(self, node: int) -> None:
        """Remove a node's registration."""


@dataclass(frozen=True)
class _Member:
    node: int
    key: MemberKey


class KeyRoster:
    """A roster of the clients that have a public key in the server's folder.

    A new key is registered at the SuperLink, a removed one is unregistered. A client's number
    belongs to its first key. A key that was removed while the server ran is accepted again only
    after a restart of the server, since a SuperLink remembers removed keys.

    Parameters
    ----------
    keys : ServerKeys
        The server's folder of keys.
    record : KeyRecord
        The record of each client's key.
    on_message : Callable[[str], None]
        Called with a message, once, on each client that joins or leaves and each key that cannot be
        used.
    watcher : Watcher | None (default: None)
        Its `on_event` is called when clients may take part, or may no longer.
    """

    def __init__(
        self,
        keys: ServerKeys,
        record: KeyRecord,
        on_message: Callable[[str], None],
        watcher: Watcher | None = None,
    ):
        self._keys = keys
        self._watcher = watcher or SilentWatcher()
        self._record = record
        self._on_message = on_message
        self._registrar: Registrar | None = None
        self._members: dict[int, _Member] = {}
        self._stamp: _Stamp | None = None
        self._removed: set[str] = set()
        self._faults: dict[str, str] = {}
        # Public, and replaced as a whole, since another thread watches the folder.
        self.clients: tuple[int, ...] = ()
        """The members' numbers, ascending."""
        self.nodes: Mapping[int, int] = {}
        """The client of each node."""

    def check(self) -> None:
        """Check that every key can be used.

        Raises
        ------
        ConfigError
            A key cannot be used; the message names the first one and the fix.
        """
        _, faults = self._read()
        for fault in faults.values():
            raise ConfigError(fault)

    def open(self, registrar: Registrar) -> None:
        """Register all keys in the folder at a SuperLink, without messages."""
        self._registrar = registrar
        self._update(is_first=True)

    def watch(self, seconds: float = LOOK_SECONDS) -> AbstractContextManager[None]:
        """Return a context in which `update` is called every few seconds."""
        return call_periodically(seconds, self._try_to_update)

    def _try_to_update(self) -> None:
        try:
            self.update()
        # Such as a full disk: the next call may succeed.
        except Exception as error:
            self._report("", f"{self._keys.folder}: {type(error).__name__}: {error}")

    def update(self) -> None:
        """Add the clients whose keys appeared, and remove those whose keys were removed."""
        self._update(is_first=False)

    def _update(self, is_first: bool) -> None:
        assert self._registrar is not None
        if (stamp := _stamp(self._keys)) == self._stamp:
            return
        keys, faults = self._read()
        departed = [c for c, member in self._members.items() if keys.get(c) != member.key]
        for client in departed:
            member = self._members.pop(client)
            self._removed.add(member.key.fingerprint)
            # First, so that the engine sends it no more messages.
            self._publish()
            self._registrar.unregister(member.node)
            self._on_message(f"client {client} is no member any more: its key was removed")
            self._watcher.on_event("left", client=client, why="its key was removed")
        new = {c: key for c, key in keys.items() if c not in self._members}
        self._record.add({client: key.fingerprint for client, key in new.items()})
        for client, key in sorted(new.items()):
            try:
                self._members[client] = _Member(self._registrar.register(key.pem), key)
            except ValueError as error:
                faults[str(key.path)] = f"{key.path}: {error}"
                continue
            if not is_first:
                self._on_message(f"client {client} is a member now: its key was added")
        self._publish()
        for path, fault in faults.items():
            self._report(path, fault)
        self._faults = {path: fault for path, fault in self._faults.items() if path in faults}
        self._stamp = stamp

    def _read(self) -> tuple[dict[int, MemberKey], dict[str, str]]:
        """Return the usable keys by client, and the errors of others by path."""
        usable: dict[int, MemberKey] = {}
        keys, faults = self._keys.read_public_keys()
        for key in keys:
            if fault := self._fault(key):
                faults[str(key.path)] = f"{key.path}: {fault}"
            else:
                usable[key.client] = key
        return usable, faults

    def _fault(self, key: MemberKey) -> str | None:
        """Return an error where a key's holder cannot take part in this run, else None."""
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
        self._watcher.on_event("roster", clients=self.clients)

    def _report(self, path: str, fault: str) -> None:
        if self._faults.get(path) != fault:
            self._faults[path] = fault
            self._watcher.on_event("refused", why=fault)
            self._on_message(printable_message(fault))


def _stamp(keys: ServerKeys) -> _Stamp:
    stamp: _Stamp = {}
    for path in keys.public_key_files():
        try:
            status = path.stat()
        except OSError:
            # Just removed, or a link that leads nowhere.
            stamp[str(path)] = (0, 0, 0)
        else:
            stamp[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return stamp
