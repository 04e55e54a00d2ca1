"""A device's connection to the server: a SuperNode in a process of its own, and why it ends."""

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from clients.child import Child
from clients.flower_runtime import Runtime, new_secret
from clients.reaching import free_port
from clients.supernode import REFUSED
from clients.versions import MOST_AHEAD, MOST_BEHIND
from fedssl.printable import printable

SUPERNODE = "clients.supernode:main"
_CODE = re.compile(r"\[code: (\d+)\]\s*(.*)")
_UNKNOWN_OR_COUNTED = "2004"
"""Flower's code for a key that it does not know, or of which a connection still counts."""


@dataclass(frozen=True)
class Refusal:
    """Why the server does not take this client.

    Parameters
    ----------
    reason : str
        In words.
    patience : float
        For how many seconds it may help to try again; infinite where it will help one day.
    """

    reason: str
    patience: float


class Connection:
    """A SuperNode that runs in a process of its own.

    Parameters
    ----------
    child : Child
        The process.
    runtime : Runtime
        Gives its tasks.
    spoken : Path
        A file that the process touches whenever the server has answered it.
    """

    def __init__(self, child: Child, runtime: Runtime, spoken: Path):
        self.runtime = runtime
        self._child = child
        self._spoken = spoken
        self._seen = -1
        self._since = time.monotonic()
        self.has_spoken = False
        """Whether the server has ever answered it."""

    @property
    def ended(self) -> bool:
        """Whether the process runs no longer."""
        return self._child.ended

    def silent_seconds(self) -> float:
        """Return how long ago the server has answered it, or it was started."""
        try:
            seen = self._spoken.stat().st_mtime_ns
        except OSError:
            seen = -1
        if seen != self._seen:
            self._seen, self._since, self.has_spoken = seen, time.monotonic(), True
        return time.monotonic() - self._since

    def refusal(self) -> Refusal | None:
        """Return why the server refuses this client; None where that is not why it ended."""
        return refusal_in(self._child.last_lines)


def refusal_in(lines: Sequence[str]) -> Refusal | None:
    """Find in a SuperNode's last lines why the server refuses it; None where it does not."""
    text = "\n".join(lines)
    details = text.rpartition(REFUSED)[2] if REFUSED in text else ""
    if "Invalid timestamp" in details:
        return Refusal(
            f"this device's clock is more than {MOST_AHEAD:.0f} s ahead of the server's, or more "
            f"than {MOST_BEHIND:.0f} s behind it; set it, such as by NTP",
            math.inf,
        )
    if "Invalid node ID" in details:
        # That of a server which was started anew: known once it is asked again.
        return None
    if found := _CODE.search(text):
        if found[1] == _UNKNOWN_OR_COUNTED:
            return Refusal(
                "either it has not this client's client.pub, or it still counts an earlier "
                "connection with this key as open: one that ended without a word counts for a "
                "minute, and another device with a copy of the key for as long as it runs",
                100.0,
            )
        return Refusal(f"{printable(found[2])} (Flower's code {found[1]})", 0.0)
    if details:
        return Refusal(printable(details.partition("\n")[0]), 0.0)
    return None


@contextmanager
def connected(
    arguments: Sequence[str],
    *,
    trusted: Path | None,
    log: Path,
    trouble: Callable[[str], None],
) -> Iterator[Connection]:
    """Run a SuperNode.

    Parameters
    ----------
    arguments : Sequence[str]
        Of ``flower-supernode``: the server, the keys and the node's config.
    trusted : Path | None
        Flower's file of trusted entities, whose apps Flower then runs; None to have tasks wait for
        who claims them by the connection's ``runtime``.
    log : Path
        Where its output goes.
    trouble : Callable[[str], None]
        Told of what Flower marks as an error.
    """
    with ExitStack() as stack:
        secret, secret_file = stack.enter_context(new_secret())
        spoken = secret_file.with_name("spoken")
        port = free_port()
        own = [str(spoken), *arguments, "--host", "127.0.0.1", "--port", str(port)]
        if trusted is None:
            own += ["--isolation", "process"]
            own += ["--superexec-auth-secret-file", str(secret_file)]
        else:
            own += ["--trusted-entities", str(trusted)]
        child = stack.enter_context(Child(SUPERNODE, own, log, trouble))
        runtime = Runtime(f"127.0.0.1:{port}", secret)
        stack.callback(runtime.close)
        yield Connection(child, runtime, spoken)
