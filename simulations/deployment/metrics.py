"""Serve a federation's metrics over HTTP: for Prometheus, and for `fedssl status --server`."""

import re
import socket
import socketserver
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from fedssl.base.config_file import ConfigError
from simulations.deployment.status import StatusBoard

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

LOOPBACK = "127.0.0.1"
REQUEST_SECONDS = 10.0
"""The seconds that a client has to send its request."""


@dataclass(frozen=True)
class Address:
    """The address of the HTTP server for metrics.

    >>> Address.parse("9100")
    Address(host='127.0.0.1', port=9100)

    Parameters
    ----------
    host : str
        An address of this machine.
    port : int
        A free port.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``PORT``, which is on the loopback device, or ``HOST:PORT``.

        Raises
        ------
        ConfigError
            The text has another form.
        """
        match = re.fullmatch(r"(?:([^\s:/]+|\[[0-9a-fA-F:]+\]):)?(\d{1,5})", text)
        if not match or not 0 < int(match[2]) < 65536:
            raise ConfigError(f"--metrics = {text}: give PORT, or HOST:PORT")
        return cls((match[1] or LOOPBACK).strip("[]"), int(match[2]))


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: requests are no events of the federation."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without looking up the machine's name, which may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "fedssl", self.socket.getsockname()[1]
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class Metrics:
    """Serves a `StatusBoard`: ``/metrics`` for Prometheus, ``/status`` as JSON. A context.

    Parameters
    ----------
    address : Address
        Where to listen.

    Raises
    ------
    ConfigError
        The library is not installed, or the port is taken.
    """

    def __init__(self, address: Address):
        try:
            import prometheus_client
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"--metrics: prometheus-client is not installed ({error}); pip install "
                "'fedssl[metrics]'"
            ) from None
        self._registry = prometheus_client.CollectorRegistry()
        self._metrics_app = prometheus_client.make_wsgi_app(self._registry)
        try:
            kind = _Server6 if ":" in address.host else _Server
            self._server = make_server(address.host, address.port, self._answer, kind, _Handler)
        except OSError as error:
            raise ConfigError(
                f"--metrics = {address.host}:{address.port}: cannot listen there "
                f"({error.strerror or error}); give another port"
            ) from None
        self._board: StatusBoard | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._server.server_port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def serve(self, board: StatusBoard) -> None:
        """Answer requests from now on until the context ends."""
        self._board = board
        self._registry.register(_Collector(board))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _answer(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics_app(environ, start_response)
            return answer
        if path == "/status" and self._board is not None:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [self._board.text().encode()]
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"/metrics and /status are here\n"]


class _Collector:
    """Turns the status into Prometheus's metrics for each request."""

    def __init__(self, board: StatusBoard):
        self._board = board

    def collect(self) -> Iterator[Any]:
        """Yield the metrics."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        status = self._board.status()
        gauges = {
            "round": ("The round that runs, or ran last.", status.round),
            "rounds": ("How many rounds there are to be.", status.rounds),
            "members": ("Clients that may take part.", len(status.members)),
            "connected": (
                "Clients that are connected.",
                sum(client.here for client in status.clients.values()),
            ),
            "round_seconds": ("Seconds of the last finished round.", status.round_seconds),
            "linear_accuracy": (
                "The linear probe's accuracy (0-1), the last that was measured.",
                status.linear_accuracy,
            ),
        }
        for name, (text, value) in gauges.items():
            if value is not None:
                yield GaugeMetricFamily(f"fedssl_{name}", text, value=value)
        for name, text, count in (
            ("bytes_up", "Bytes of the models that counted.", status.bytes_up),
            ("bytes_down", "Bytes of the models sent to clients.", status.bytes_down),
        ):
            yield CounterMetricFamily(f"fedssl_{name}", text, value=count)
        failed = CounterMetricFamily(
            "fedssl_failed_replies", "Replies that did not count.", labels=["kind"]
        )
        for kind in ("refused", "lost", "error"):
            failed.add_metric([kind], status.failures.get(kind, 0))
        yield failed
        seen = GaugeMetricFamily(
            "fedssl_client_last_seen_seconds",
            "When a client was seen last, in seconds since 1970.",
            labels=["client"],
        )
        for number, client in sorted(status.members.items()):
            if client.last_seen is not None:
                time = datetime.fromisoformat(client.last_seen).timestamp()
                seen.add_metric([str(number)], time)
        yield seen
