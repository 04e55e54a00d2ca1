"""Run Flower's SuperNode so that it reconnects soon, and ends rather than hangs.

`clients.connection` runs it in another process, which does not import PyTorch.
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
"""The command of the process; see `clients.child_process`."""
MOST_WAIT = 3
"""The most seconds between two tries to connect; Flower and gRPC wait up to 20 and 120."""
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
"""A part of gRPC's error where nothing listens at a port."""


def main() -> None:
    """Run Flower's SuperNode; the first argument is the file to touch, the others are Flower's."""
    from flwr.client.grpc_rere_client import connection
    from flwr.supercore import heartbeat
    from flwr.supercore.retry import exponential, grpc_retry
    from flwr.supernode.cli import flower_supernode

    answer_file = Path(sys.argv.pop(1))
    private: Any = connection, heartbeat, grpc_retry
    private[0].create_channel = lambda *args, **kwargs: _channel(answer_file, *args, **kwargs)
    private[1].exponential = lambda max_delay: exponential(max_delay=min(max_delay, MOST_WAIT))
    private[2].MAX_RETRY_DELAY = MOST_WAIT
    # Without the thread of its heartbeat the server would take it for disconnected.
    threading.excepthook = _end_by
    try:
        flower_supernode()
    finally:
        # At once, since a thread of its HTTP server would keep the process alive.
        _end("the SuperNode's main loop ended")


class _Listening(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Updates a file's time at each answer, and ends the process where the server refuses it."""

    def __init__(self, answer_file: Path):
        self._answer_file = answer_file
        self._was_answered = False

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        call = continuation(details, request)
        code = call.code()
        if code is grpc.StatusCode.OK:
            self._answer_file.touch()
            self._was_answered = True
        elif code is grpc.StatusCode.UNAUTHENTICATED:
            # Flower itself would take up to ten seconds to end.
            _end(f"{REFUSED}{call.details()}")
        elif code is grpc.StatusCode.CANCELLED:
            _end("the server ended the connection")
        elif code is grpc.StatusCode.UNAVAILABLE and self._was_answered and _is_closed(call):
            # A restarted server would not know this SuperNode, so a new one is started.
            _end("the server has ended: nothing listens there any more")
        return call


def _is_closed(call: Any) -> bool:
    """Return whether the server's machine answers that nothing listens at the port."""
    return CLOSED in (call.details() or "")


def _channel(
    answer_file: Path,
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
    return grpc.intercept_channel(channel, _Listening(answer_file), *interceptors)


def _end_by(args: threading.ExceptHookArgs) -> None:
    _end(f"a thread of the SuperNode ended by {args.exc_type.__name__}: {args.exc_value}")


def _end(why: str) -> None:
    print(why, flush=True)
    os._exit(1)
