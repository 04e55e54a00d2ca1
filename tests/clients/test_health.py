import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from clients.health import health_service
from clients.network import find_free_port


def test_it_answers_what_is_true_at_that_moment() -> None:
    port, well = find_free_port(), [True]
    with (
        health_service(f"127.0.0.1:{port}", lambda: well[0]),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        check = HealthStub(channel).Check
        assert check(HealthCheckRequest()).status == HealthCheckResponse.SERVING
        well[0] = False
        assert check(HealthCheckRequest()).status == HealthCheckResponse.NOT_SERVING


def test_a_port_that_is_taken_is_named() -> None:
    address = f"127.0.0.1:{find_free_port()}"
    with (
        health_service(address, lambda: True),
        pytest.raises(ValueError, match=r"--health = \d+: another program listens there"),
        health_service(address, lambda: True),
    ):
        raise AssertionError("both listen")
