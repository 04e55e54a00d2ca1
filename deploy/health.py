"""Ask a gRPC health check of this machine: ``python health.py PORT``; exit code 0 if it serves.

For container images, which have no grpc_health_probe.
"""

import sys

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

SECONDS = 5.0


def main(port: int) -> int:
    """Return 0 if what listens at a port of this machine says that it serves, else 1."""
    # A proxy of the environment could not reach this machine's own ports.
    options = [("grpc.enable_http_proxy", 0)]
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            reply = HealthStub(channel).Check(HealthCheckRequest(), timeout=SECONDS)
    except grpc.RpcError as error:
        print(f"port {port}: {error.code().name.lower().replace('_', ' ')}")
        return 1
    print(f"port {port}: {HealthCheckResponse.ServingStatus.Name(reply.status).lower()}")
    return int(reply.status != HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
