"""A server of gRPC's standard health check."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer, add_HealthServicer_to_server

from fedssl.base.errors import ConfigError


@contextmanager
def health_service(address: str, is_well: Callable[[], bool]) -> Iterator[None]:
    """Return a context in which health checks are answered, without TLS: they carry no data.

    Parameters
    ----------
    address : str
        The ``HOST:PORT`` to listen on.
    is_well : Callable[[], bool]
        Called at each check: SERVING where it returns True, else NOT_SERVING.

    Raises
    ------
    ConfigError
        Another program listens there.
    """
    # Few threads, since a check is fast and a stranger may send any number of them.
    server = grpc.server(
        ThreadPoolExecutor(2, "health"),
        maximum_concurrent_rpcs=16,
        # Else a port of another gRPC server would be shared with it.
        options=[("grpc.so_reuseport", 0)],
    )
    add_HealthServicer_to_server(_Health(is_well), server)
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise ConfigError(
            f"--health = {address.rpartition(':')[2]}: another program listens there; stop it, or "
            "give another port"
        ) from error
    server.start()
    try:
        yield
    finally:
        server.stop(None)


class _Health(HealthServicer):  # type: ignore[misc]
    def __init__(self, is_well: Callable[[], bool]):
        self._is_well = is_well

    def Check(
        self, request: HealthCheckRequest, context: grpc.ServicerContext
    ) -> HealthCheckResponse:
        is_well = self._is_well()
        return HealthCheckResponse(
            status=HealthCheckResponse.SERVING if is_well else HealthCheckResponse.NOT_SERVING
        )
