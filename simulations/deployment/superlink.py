"""The SuperLink of a federation: Flower's server process, and the one run that it has.

Clients reach its Fleet API (gRPC, TLS, a registered key each). Its other APIs listen on the
loopback device only, and a secret that this process alone knows guards the run's task, so that the
rounds run here and nobody else takes their place.

Touches what Flower keeps private. Written for Flower 1.39.
"""

import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import SubStatus
from flwr.common.serde import fab_to_proto, run_from_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    RegisterNodeRequest,
    StartRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.runtime_pb2 import (
    PullTaskInputRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.serverapp import Grid
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity

from clients.child import Child
from clients.flower_runtime import SERVER_TASK, Runtime, new_secret
from clients.health import health_service
from clients.log_file import crash_of
from clients.reaching import free_port, spare_loopback
from fedssl.config_file import ConfigError
from simulations.deployment.pki import ServerKeys
from simulations.deployment.roster import KeyRoster
from simulations.engines.flower_replies import CarefulGrid
from simulations.errors import RunError

SUPERLINK = "flwr.superlink.cli:flower_superlink"
START_SECONDS = 60.0
"""How long the SuperLink has to answer."""

APP = """
[project]
name = "fedssl"
version = "{version}"
description = "Names the app that is installed on server and clients."

[tool.flwr.app]
publisher = "fedssl"

[tool.flwr.app.components]
serverapp = "simulations.server_app:app"
clientapp = "clients.client_app:app"

[tool.flwr.app.config]
{config}
"""


@dataclass(frozen=True)
class Ports:
    """Where the server listens."""

    fleet: int
    """For clients, on all addresses."""
    health: int | None = None
    """For a gRPC health check on all addresses; None for none."""

    def check(self) -> None:
        """See that they are free.

        Raises
        ------
        ConfigError
            Names the option and the port.
        """
        for option, port in (("--port", self.fleet), ("--health", self.health)):
            if port is not None and not _is_free(port):
                raise ConfigError(
                    f"{option} = {port}: another program listens there; stop it, or give another "
                    "port"
                )


@contextmanager
def superlink(
    keys: ServerKeys,
    roster: KeyRoster,
    ports: Ports,
    version: str,
    config: Mapping[str, str],
    log: Path,
    said: Callable[[str], None],
) -> Iterator[Grid]:
    """Run a SuperLink, register the clients, and begin a run whose rounds are run here.

    Parameters
    ----------
    keys : ServerKeys
        The server's certificate.
    roster : KeyRoster
        The clients, which are registered here as they come and go.
    ports : Ports
        Free ones.
    version : str
        fedssl's, which clients compare with theirs.
    config : Mapping[str, str]
        The run's, which every client sees.
    log : Path
        Where the SuperLink's output goes.
    said : Callable[[str], None]
        Told of each line of it that Flower marks as an error.

    Yields
    ------
    Grid
        Flower's.

    Raises
    ------
    RunError
        The SuperLink did not start, or refused the run.
    """
    spare_loopback(os.environ)
    with ExitStack() as stack:
        secret, secret_file = stack.enter_context(new_secret())
        port = free_port()
        arguments = [
            *("--ssl-ca-certfile", str(keys.authority)),
            *("--ssl-certfile", str(keys.certificate), "--ssl-keyfile", str(keys.key)),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--fleet-api-type", "grpc-rere", "--fleet-api-address", f"0.0.0.0:{ports.fleet}"),
            *("--isolation", "process", "--superexec-auth-secret-file", str(secret_file)),
            "--enable-supernode-auth",
            "--disable-runtime-dependency-installation",
        ]
        process = stack.enter_context(Child(SUPERLINK, arguments, log, said))
        if ports.health is not None:
            # Its own would say that all is well, whatever happens.
            well = partial(_is_well, process, ports.fleet)
            stack.enter_context(health_service(f"0.0.0.0:{ports.health}", well))
        _wait_until_it_listens(process, (port, ports.fleet))
        address, root = f"127.0.0.1:{port}", keys.authority.read_bytes()
        control = ControlHttpClient.from_server_address(
            server_address=address,
            insecure=False,
            root_certificates=root,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="fedssl")],
        )
        stack.callback(control.close)
        roster.open(_Registrar(control))
        started = control.StartRun(
            StartRunRequest(
                fab=fab_to_proto(app_bundle(version, config)),
                override_config=user_config_to_proto(dict(config)),
            )
        )
        if not started.HasField("run_id"):
            raise RunError(f"the SuperLink refused the run; see {log}")
        runtime = Runtime(address, secret, root)
        stack.callback(runtime.close)
        stack.enter_context(_explaining(process))
        with roster.watched():
            yield stack.enter_context(_grid(runtime, process))


class _Registrar:
    """The nodes that a SuperLink lets in."""

    def __init__(self, control: ControlHttpClient):
        self._control = control

    def register(self, key: bytes) -> int:
        """Let the holder of a key in; a ValueError says that the SuperLink refuses the key."""
        try:
            return self._control.RegisterNode(RegisterNodeRequest(public_key=key)).node_id
        except httpx.HTTPStatusError as error:
            raise ValueError(f"the SuperLink refuses this key: {error}") from error

    def unregister(self, node: int) -> None:
        """Let a node in no more."""
        # The SuperLink takes note of it, and then fails if the node never was there.
        with suppress(httpx.HTTPStatusError):
            self._control.UnregisterNode(UnregisterNodeRequest(node_id=node))


@contextmanager
def _explaining(process: Child) -> Iterator[None]:
    """Turn what is raised because the SuperLink has ended into a RunError that says so."""
    try:
        yield
    except httpx.HTTPError as error:
        if process.ended:
            raise RunError(_ended(process)) from error
        if _is_forgotten(error):
            raise RunError(
                "the SuperLink took this process for dead, as after a machine slept, and ended its "
                "run; all finished rounds are kept: go on by --resume"
            ) from error
        raise


def _ended(process: Child) -> str:
    return (
        f"the SuperLink ended by itself; its last words are in {crash_of(process.log)}; all "
        "finished rounds are kept: go on by --resume"
    )


@contextmanager
def _grid(runtime: Runtime, process: Child) -> Iterator[Grid]:
    """Take up the run's task, and report how it ended."""
    token = None
    while token is None:
        token = runtime.claim(SERVER_TASK)
        if process.ended:
            raise RunError(_ended(process))
    grid = CarefulGrid(runtime.address, False, runtime.root_certificates, token=token)
    # Flower would try again for ever, or end this process as by Ctrl-C.
    retries: Any = grid._retry_invoker
    retries.should_giveup = partial(_gives_up, process, retries.should_giveup)
    client = grid._runtime_client
    heartbeat = HeartbeatSender(partial(_beat, client))
    heartbeat.start()
    status, details = SubStatus.FAILED, "the rounds ended by an error"
    try:
        taken = client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id = taken.task_id
        TaskIdentity.run_id = taken.run.run_id
        TaskIdentity.node_id = taken.context.node_id
        grid.set_run(run_from_proto(taken.run))
        yield grid
        status, details = SubStatus.COMPLETED, ""
    finally:
        heartbeat.stop()
        with suppress(httpx.HTTPError):
            client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=details))
        grid.close()


def _gives_up(process: Child, usual: Callable[[Exception], bool], error: Exception) -> bool:
    return process.ended or _is_forgotten(error) or usual(error)


def _is_forgotten(error: Exception) -> bool:
    """Say whether the SuperLink does not know the run's task any more."""
    unknown = httpx.codes.UNAUTHORIZED
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == unknown


def _beat(client: RuntimeHttpClient) -> bool:
    """Say that this process lives; where it is not heard, the next call of a round tells why."""
    try:
        client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
    except httpx.HTTPError:
        return False
    return True


def _is_well(process: Child, port: int) -> bool:
    return not process.ended and _listens(port)


def app_bundle(version: str, config: Mapping[str, str]) -> Fab:
    """Return the app that is sent to clients: it holds no code, only the names of what is there."""
    lines = "\n".join(f'{key} = ""' for key in config)
    project = APP.format(version=version, config=lines).encode()
    content, _ = build_fab_from_files({"pyproject.toml": project})
    return Fab(hashlib.sha256(content).hexdigest(), content, {})


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do, else a port counts as taken for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def _wait_until_it_listens(process: Child, ports: tuple[int, ...]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not all(map(_listens, ports)):
        if process.ended or time.monotonic() > deadline:
            how = "ended" if process.ended else f"did not listen within {START_SECONDS:.0f} s"
            last = "\n  ".join(process.last_lines[-8:])
            raise RunError(f"the SuperLink {how}; its log {process.log} ends with\n  {last}")
        time.sleep(0.1)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
