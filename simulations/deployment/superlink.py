"""The SuperLink of a federation: Flower's server process, and its single run.

Clients connect to its Fleet API (gRPC with TLS; each client has a registered key). Its other APIs
listen on the loopback device only. The run's task needs a secret that only this process knows, so
that no other process can run the rounds.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flwr.serverapp import Grid

from clients.child_process import ChildProcess
from clients.flower_adapter.runtime_api import SERVER_TASK, Runtime, make_secret
from clients.flower_adapter.superlink import COMMAND, CallError, Control, is_forgotten, open_grid
from clients.health import health_service
from clients.log_file import crash_file
from clients.network import find_free_port, spare_loopback
from fedssl.base.config_file import ConfigError
from simulations.deployment.key_roster import KeyRoster
from simulations.deployment.pki import ServerKeys
from simulations.errors import RunError

START_SECONDS = 60.0
"""The seconds that the SuperLink has to start."""

APP = """
[project]
name = "fedssl"
version = "{version}"
description = "Names the app that is installed on server and clients."

[tool.flwr.app]
publisher = "fedssl"

[tool.flwr.app.components]
serverapp = "simulations.running.server_app:app"
clientapp = "clients.client_app:app"

[tool.flwr.app.config]
{config}
"""


@dataclass(frozen=True)
class Ports:
    """The ports on which the server listens."""

    fleet: int
    """The port for clients, on all addresses."""
    health: int | None = None
    """The port of a gRPC health check, on all addresses; None for no health check."""

    def check(self) -> None:
        """Check that the ports are free.

        Raises
        ------
        ConfigError
            A port is taken; the message names the option and the port.
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
    on_error: Callable[[str], None],
) -> Iterator[Grid]:
    """Return a context in which a SuperLink runs, with a run whose rounds this process runs.

    Parameters
    ----------
    keys : ServerKeys
        The server's certificate.
    roster : KeyRoster
        The clients; they are registered at the SuperLink.
    ports : Ports
        Free ports.
    version : str
        The version of fedssl, which clients compare with their own.
    config : Mapping[str, str]
        The run's config, which every client gets.
    log : Path
        The file for the SuperLink's output.
    on_error : Callable[[str], None]
        Called with the text of each output line that Flower marks as an error.

    Yields
    ------
    Grid
        Flower's Grid.

    Raises
    ------
    RunError
        The SuperLink did not start, or refused the run.
    """
    spare_loopback(os.environ)
    with ExitStack() as stack:
        secret, secret_file = stack.enter_context(make_secret())
        port = find_free_port()
        arguments = [
            *("--ssl-ca-certfile", str(keys.authority)),
            *("--ssl-certfile", str(keys.certificate), "--ssl-keyfile", str(keys.key)),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--fleet-api-type", "grpc-rere", "--fleet-api-address", f"0.0.0.0:{ports.fleet}"),
            *("--isolation", "process", "--superexec-auth-secret-file", str(secret_file)),
            "--enable-supernode-auth",
            "--disable-runtime-dependency-installation",
        ]
        process = stack.enter_context(ChildProcess(COMMAND, arguments, log, on_error))
        if ports.health is not None:
            # The SuperLink's own health check always answers SERVING.
            is_well = partial(_is_well, process, ports.fleet)
            stack.enter_context(health_service(f"0.0.0.0:{ports.health}", is_well))
        _wait_until_it_listens(process, (port, ports.fleet))
        address, root = f"127.0.0.1:{port}", keys.authority.read_bytes()
        control = Control(address, root)
        stack.callback(control.close)
        roster.open(control)
        if not control.start_run(_app_project(version, config), config):
            raise RunError(f"the SuperLink refused the run; see {log}")
        runtime = Runtime(address, secret, root)
        stack.callback(runtime.close)
        stack.enter_context(_explain_errors(process))
        with roster.watch():
            token = _claim_run(runtime, process)
            yield stack.enter_context(open_grid(runtime, token, lambda: process.ended))


@contextmanager
def _explain_errors(process: ChildProcess) -> Iterator[None]:
    """Turn errors that the end of the SuperLink causes into a RunError that says so."""
    try:
        yield
    except CallError as error:
        if process.ended:
            raise RunError(_ended_message(process)) from error
        if is_forgotten(error):
            raise RunError(
                "the SuperLink took this process for dead, as after a machine slept, and ended its "
                "run; all finished rounds are kept: go on by --resume"
            ) from error
        raise


def _ended_message(process: ChildProcess) -> str:
    return (
        f"the SuperLink ended by itself; its last words are in {crash_file(process.log)}; all "
        "finished rounds are kept: go on by --resume"
    )


def _claim_run(runtime: Runtime, process: ChildProcess) -> str:
    token = None
    while token is None:
        token = runtime.claim(SERVER_TASK)
        if process.ended:
            raise RunError(_ended_message(process))
    return token


def _is_well(process: ChildProcess, port: int) -> bool:
    return not process.ended and _listens(port)


def _app_project(version: str, config: Mapping[str, str]) -> bytes:
    """Return the app that is sent to clients: it has no code, only names of installed code."""
    lines = "\n".join(f'{key} = ""' for key in config)
    return APP.format(version=version, config=lines).encode()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do; else a port counts as taken for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def _wait_until_it_listens(process: ChildProcess, ports: tuple[int, ...]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not all(map(_listens, ports)):
        if process.ended or time.monotonic() > deadline:
            how = "ended" if process.ended else f"did not listen within {START_SECONDS:.0f} s"
            last_lines = "\n  ".join(process.last_lines[-8:])
            raise RunError(f"the SuperLink {how}; its log {process.log} ends with\n  {last_lines}")
        time.sleep(0.1)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
