"""Flower's SuperNode, made to come back soon, and to end rather than hang.

``main`` is what runs in a process of its own. `Connection` starts it and watches it.

`main` touches what Flower keeps private. Written for Flower 1.39.
"""

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from clients.child import Child
from clients.flower_runtime import Runtime, new_secret
from clients.reaching import free_port
from fedssl.printable import printable
from fedssl.temporary import temporary_folder

SUPERNODE = "clients.supernode:main"
MOST_WAIT = 3
"""Seconds between two tries to reach the server, at most: Flower and gRPC wait up to 20 and 120."""
CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000 * MOST_WAIT),
    # How long a connection may take to be made.
    ("grpc.min_reconnect_backoff_ms", 5000),
    # A cut link is noticed while a call waits, not after the minutes that TCP takes.
    ("grpc.keepalive_time_ms", 15000),
    ("grpc.keepalive_timeout_ms", 10000),
]
REFUSED = "refused by the server: "
"""Begins the line by which the SuperNode's process says why it ends."""
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
    _, _, details = text.rpartition(REFUSED)
    if "Invalid timestamp" in details:
        own = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        return Refusal(
            f"this device's clock, which says {own}, is more than 5 s ahead of the server's or "
            "more than 5 minutes behind it; set it, such as by NTP",
            float("inf"),
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
        spoken = stack.enter_context(temporary_folder()) / "spoken"
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


def main() -> None:
    """Run Flower's SuperNode; the first argument is the file to touch, the others are Flower's."""
    from flwr.client.grpc_rere_client import connection
    from flwr.supercore import heartbeat
    from flwr.supercore.retry import exponential, grpc_retry
    from flwr.supernode.cli import flower_supernode

    spoken = Path(sys.argv.pop(1))
    private: Any = connection, heartbeat, grpc_retry
    private[0].create_channel = lambda *args, **kwargs: _channel(spoken, *args, **kwargs)
    private[1].exponential = lambda max_delay: exponential(max_delay=min(max_delay, MOST_WAIT))
    private[2].MAX_RETRY_DELAY = MOST_WAIT
    # Without its heartbeat it would go on and not be there.
    threading.excepthook = _end_by
    try:
        flower_supernode()
    finally:
        # At once: a thread of its HTTP server would keep the process.
        _end("the SuperNode's main loop ended")


class _Listening(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Touches a file at each answer, and ends the process where the server does not know us."""

    def __init__(self, spoken: Path):
        self._spoken = spoken

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        call = continuation(details, request)
        code = call.code()
        if code is grpc.StatusCode.OK:
            self._spoken.touch()
        elif code is grpc.StatusCode.UNAUTHENTICATED:
            # Flower's own way out takes up to ten seconds.
            _end(f"{REFUSED}{call.details()}")
        elif code is grpc.StatusCode.CANCELLED:
            _end("the server ended the connection")
        return call


def _channel(
    spoken: Path,
    server_address: str,
    insecure: bool,
    root_certificates: bytes | None = None,
    max_message_length: int = -1,
    interceptors: Sequence[Any] = (),
) -> grpc.Channel:
    if insecure:
        raise ValueError("a SuperNode of fedssl connects over TLS alone")
    sizes = [(f"grpc.max_{way}_message_length", max_message_length) for way in ("send", "receive")]
    credentials = grpc.ssl_channel_credentials(root_certificates)
    channel = grpc.secure_channel(server_address, credentials, options=[*sizes, *CHANNEL])
    return grpc.intercept_channel(channel, _Listening(spoken), *interceptors)


def _end_by(args: threading.ExceptHookArgs) -> None:
    _end(f"a thread of the SuperNode ended by {args.exc_type.__name__}: {args.exc_value}")


def _end(why: str) -> None:
    print(why, flush=True)
    os._exit(1)
