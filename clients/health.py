"""gRPC's standard health check, answered by what is true at that moment."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer, add_HealthServicer_to_server

from fedssl.base.errors import ConfigError


@contextmanager
def health_service(address: str, is_well: Callable[[], bool]) -> Iterator[None]:
    """Answer health checks, without TLS: they have no content.

    Parameters
    ----------
    address : str
        ``HOST:PORT`` to listen on.
    is_well : Callable[[], bool]
        Asked at each check: SERVING, else NOT_SERVING.

    Raises
    ------
    ConfigError
        Another program listens there.
    """
    # Few, since a check takes no time and a stranger may ask without end.
    server = grpc.server(
        ThreadPoolExecutor(2, "health"),
        maximum_concurrent_rpcs=16,
        # Else a port that another gRPC server has would be shared with it.
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
        well = self._is_well()
        return HealthCheckResponse(
            status=HealthCheckResponse.SERVING if well else HealthCheckResponse.NOT_SERVING
        )
