"""Flower's SuperNode, made to come back soon, and to end rather than hang.

`clients.connection` runs it in a process of its own, which needs no PyTorch.
"""

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from clients.flower_adapter.process_output import REFUSED

COMMAND = f"{__name__}:main"
"""What the process runs; see `clients.child_process`."""
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
CLOSED = "Connection refused"
"""In what gRPC says where nothing listens at a port."""


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
    """Touches a file at each answer, and ends the process where the server does not know it."""

    def __init__(self, spoken: Path):
        self._spoken = spoken
        self._has_spoken = False

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        call = continuation(details, request)
        code = call.code()
        if code is grpc.StatusCode.OK:
            self._spoken.touch()
            self._has_spoken = True
        elif code is grpc.StatusCode.UNAUTHENTICATED:
            # Flower's own way out takes up to ten seconds.
            _end(f"{REFUSED}{call.details()}")
        elif code is grpc.StatusCode.CANCELLED:
            _end("the server ended the connection")
        elif code is grpc.StatusCode.UNAVAILABLE and self._has_spoken and _is_closed(call):
            # The next server would not know this SuperNode: another is ready by then.
            _end("the server has ended: nothing listens there any more")
        return call


def _is_closed(call: Any) -> bool:
    """Say whether its machine answers that nothing listens at the server's port."""
    return CLOSED in (call.details() or "")


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
