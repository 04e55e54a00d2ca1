import runpy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from clients.network import find_free_port

FILE = Path(__file__).parents[2] / "deploy" / "health.py"


@pytest.fixture
def main() -> Callable[[int], int]:
    found: Callable[[int], int] = runpy.run_path(str(FILE))["main"]
    return found


@pytest.fixture
def served() -> Iterator[tuple[HealthServicer, int]]:
    health = HealthServicer()
    server = grpc.server(ThreadPoolExecutor(1))
    add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield health, port
    server.stop(None).wait()


def test_what_serves_is_told_from_what_does_not(
    main: Callable[[int], int],
    served: tuple[HealthServicer, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    health, port = served
    for status, code in (("SERVING", 0), ("NOT_SERVING", 1), ("SERVING", 0)):
        health.set("", getattr(HealthCheckResponse, status))
        assert main(port) == code
        assert capsys.readouterr().out == f"port {port}: {status.lower()}\n"


def test_nobody_there_is_not_healthy(
    main: Callable[[int], int], capsys: pytest.CaptureFixture[str]
) -> None:
    port = find_free_port()
    assert main(port) == 1
    assert capsys.readouterr().out == f"port {port}: unavailable\n"


def test_no_proxy_is_asked(
    main: Callable[[int], int],
    served: tuple[HealthServicer, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    health, port = served
    health.set("", HealthCheckResponse.SERVING)
    assert main(port) == 0
