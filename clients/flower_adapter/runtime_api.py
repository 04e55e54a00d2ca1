"""In place of Flower's executor: run a task in this process, not in a new one for each.

A SuperNode or SuperLink with ``--isolation process`` keeps its tasks until an executor claims them
over the Runtime API on the loopback device. Flower's own executor would unpack the app that the
server sent and start a new interpreter for each message. Ours stays, so that PyTorch is imported
and the model built once, and runs nothing but what is installed here.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from flwr.app import Context, Message
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.run import Run
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from clients.flower_adapter.error_replies import error_reply
from fedssl.base.temporary import temporary_folder

CLIENT_TASK, SERVER_TASK = TaskType.CLIENT_APP, TaskType.SERVER_APP
_ACQUIRE = frozenset({"/flwr.proto.Runtime/AcquireTask"})


@contextmanager
def make_secret() -> Iterator[tuple[bytes, Path]]:
    """Make what a process must know to claim tasks; yield it, and a file of it for its owner."""
    with temporary_folder() as folder:
        secret, file = secrets.token_bytes(32), folder / "secret"
        file.touch(0o600)
        file.write_bytes(secret)
        yield secret, file


class Runtime:
    """The Runtime API of a SuperNode or SuperLink on this machine.

    Parameters
    ----------
    address : str
        ``HOST:PORT``.
    secret : bytes
        What the process was started with: only who knows it may claim tasks.
    root_certificates : bytes | None
        For TLS; None for none.
    """

    def __init__(self, address: str, secret: bytes, root_certificates: bytes | None = None):
        self.address = address
        self.root_certificates = root_certificates
        self._claims = self._client(
            SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=_ACQUIRE)
        )

    def close(self) -> None:
        """End the connection."""
        self._claims.close()

    def claim(self, kind: TaskType) -> str | None:
        """Claim the oldest task of a kind and return its token.

        None where there is none, or the process does not answer just now.
        """
        request = AcquireTaskRequest(supported_task_types=[kind])
        try:
            return self._claims.AcquireTask(request).token or None
        except httpx.TransportError:
            return None

    @contextmanager
    def task(self, token: str) -> Iterator["ClientTask"]:
        """Take up a client's task that was claimed, and report how it ended."""
        client = self._client(RuntimeTokenHttpInterceptor(token))
        heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
        heartbeat.start()
        status, details = SubStatus.FAILED, "the executor ended"
        try:
            message, context, run, _ = pull_task_input(client)
            yield ClientTask(client, message, context, run)
            status, details = SubStatus.COMPLETED, ""
        finally:
            # Without the context: what a client keeps is ours to keep, on its disk.
            push_task_output(client, None, status, details)
            heartbeat.stop()
            client.close()

    def _client(self, interceptor: ProtobufClientInterceptor) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(
            server_address=self.address,
            insecure=self.root_certificates is None,
            root_certificates=self.root_certificates,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="fedssl"), interceptor],
        )


@dataclass(frozen=True)
class ClientTask:
    """A message that waits for its reply."""

    client: RuntimeHttpClient
    message: Message
    context: Context
    run: Run

    def reply(self, reply: Message) -> None:
        """Send the reply."""
        push_message(self.client, reply, self.context)

    def refuse(self, reason: str) -> None:
        """Reply with an error."""
        self.reply(error_reply(self.message, reason))
