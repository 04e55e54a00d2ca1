"""What a server asks of Flower's SuperLink: to let clients in, and to have its rounds run here."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import httpx
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import SubStatus
from flwr.common.serde import fab_to_proto, run_from_proto, user_config_to_proto
from flwr.proto.control_pb2 import RegisterNodeRequest, StartRunRequest, UnregisterNodeRequest
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

from clients.flower_adapter.messages import become_task
from clients.flower_adapter.replies import CarefulGrid
from clients.flower_adapter.runtime_api import Runtime

COMMAND = "flwr.superlink.cli:flower_superlink"
"""What the SuperLink's process runs; see `clients.child_process`."""
CallError = httpx.HTTPError
"""Raised by a call that the SuperLink does not answer, or refuses."""


class Control:
    """The Control API of a SuperLink on this machine.

    Parameters
    ----------
    address : str
        ``HOST:PORT``.
    root_certificates : bytes
        For TLS.
    """

    def __init__(self, address: str, root_certificates: bytes):
        self._client = ControlHttpClient.from_server_address(
            server_address=address,
            insecure=False,
            root_certificates=root_certificates,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="fedssl")],
        )

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def register(self, key: bytes) -> int:
        """Let the holder of a key in; a ValueError says that the SuperLink refuses the key."""
        try:
            return self._client.RegisterNode(RegisterNodeRequest(public_key=key)).node_id
        except httpx.HTTPStatusError as error:
            raise ValueError(f"the SuperLink refuses this key: {error}") from error

    def unregister(self, node: int) -> None:
        """Let a node in no more."""
        # The SuperLink takes note of it, and then fails if the node never was there.
        with suppress(httpx.HTTPStatusError):
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node))

    def start_run(self, project: bytes, config: Mapping[str, str]) -> bool:
        """Begin a run of an app, and say whether the SuperLink takes it.

        Parameters
        ----------
        project : bytes
            The app's ``pyproject.toml``: all that is sent to clients.
        config : Mapping[str, str]
            The run's.
        """
        request = StartRunRequest(
            fab=fab_to_proto(_bundle(project)), override_config=user_config_to_proto(dict(config))
        )
        return self._client.StartRun(request).HasField("run_id")


def _bundle(project: bytes) -> Fab:
    content, _ = build_fab_from_files({"pyproject.toml": project})
    return Fab(hashlib.sha256(content).hexdigest(), content, {})


@contextmanager
def open_grid(runtime: Runtime, token: str, has_ended: Callable[[], bool]) -> Iterator[Grid]:
    """Take up the run's task that was claimed, and report how it ended.

    Parameters
    ----------
    runtime : Runtime
        Of the SuperLink.
    token : str
        Of the task.
    has_ended : Callable[[], bool]
        Says whether the SuperLink runs no longer, so that no call is made again.
    """
    grid = CarefulGrid(runtime.address, False, runtime.root_certificates, token=token)
    # Flower would try again for ever, or end this process as by Ctrl-C.
    retries: Any = grid._retry_invoker
    retries.should_giveup = partial(_gives_up, has_ended, retries.should_giveup)
    client = grid._runtime_client
    heartbeat = HeartbeatSender(partial(_beat, client))
    heartbeat.start()
    status, details = SubStatus.FAILED, "the rounds ended by an error"
    try:
        taken = client.PullTaskInput(PullTaskInputRequest())
        become_task(taken.task_id, taken.run.run_id, taken.context.node_id)
        grid.set_run(run_from_proto(taken.run))
        yield grid
        status, details = SubStatus.COMPLETED, ""
    finally:
        heartbeat.stop()
        with suppress(httpx.HTTPError):
            client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=details))
        grid.close()


def is_forgotten(error: Exception) -> bool:
    """Say whether the SuperLink does not know the run's task any more."""
    unknown = httpx.codes.UNAUTHORIZED
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == unknown


def _gives_up(
    has_ended: Callable[[], bool], usual: Callable[[Exception], bool], error: Exception
) -> bool:
    return has_ended() or is_forgotten(error) or usual(error)


def _beat(client: RuntimeHttpClient) -> bool:
    """Say that this process lives; where it is not heard, the next call of a round tells why."""
    try:
        client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
    except httpx.HTTPError:
        return False
    return True
