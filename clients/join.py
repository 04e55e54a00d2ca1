"""Take part in a federation with a device's own examples: `fedssl join`."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch

from clients.client_app import PARTITION
from clients.connection import Connection, connect
from clients.device import Device
from clients.flower_adapter.process_output import Refusal
from clients.flower_adapter.runtime_api import CLIENT_TASK, ClientTask
from clients.health import health_service
from clients.keys import ClientKeys
from clients.limits import limit_cores, limit_memory
from clients.message_handler import (
    CHECK_ONLY,
    VERSIONS_KEY,
    JoinError,
    MessageHandler,
    check_version,
)
from clients.network import Unreachable, reach, split_address
from clients.private_states import PrivateStates
from clients.versions import compare_clocks, compare_versions, read_versions
from fedssl.base.printable import printable

POLL_SECONDS = 0.2
RECONNECT_SECONDS = 2.0
CHECK_SECONDS = 45.0
"""The seconds that `check` waits for the server's request to register."""
SILENT_SECONDS = 30.0
"""The seconds without an answer to the SuperNode after which this process tests the server. Usually
the server answers every 3 s, and every 20 s while the client trains."""
ANSWERING_SECONDS = 10.0
"""The seconds after which the SuperNode is restarted where the server only answers others."""


@dataclass
class Participation:
    """The participation of a device in a federation.

    Parameters
    ----------
    server : str
        ``HOST:PORT`` of the server.
    keys : ClientKeys
        The client's keys.
    device : Device
        The device and its examples.
    states : PrivateStates
        The store of the client's private states.
    log : Path
        The file for the output of Flower's SuperNode.
    on_message : Callable[[str], None]
        Called with messages on the progress.
    health : int | None
        A port for a gRPC health check on the loopback device; None for none.
    trusted : Path | None
        Flower's file of trusted entities: apps that one of them signed then run in place of this
        package's app.
    """

    server: str
    keys: ClientKeys
    device: Device
    states: PrivateStates
    log: Path
    on_message: Callable[[str], None]
    health: int | None = None
    trusted: Path | None = None
    _connection: Connection | None = field(default=None, init=False, repr=False)
    _refused_since: float | None = field(default=None, init=False, repr=False)
    _last_message: str = field(default="", init=False, repr=False)

    def run(self) -> None:
        """Take part until interrupted; wait for a server that goes away.

        Raises
        ------
        JoinError
            The server refuses this client.
        ValueError
            The server's certificate is refused, or the port of the health check is taken.
        """
        address = f"127.0.0.1:{self.health}"
        with health_service(address, self._is_well) if self.health else nullcontext():
            was_answered = False
            while True:
                # A server that was there will come back: the next SuperNode waits for it by itself.
                if not was_answered:
                    self._wait_for_server()
                with self._connect() as connection:
                    if self._refused_since is None:
                        self.on_message(
                            f"connecting to {self.server} as client {self.device.client}"
                        )
                    self._take_part(connection)
                    refusal = connection.refusal() if connection.ended else None
                    was_answered = connection.was_answered
                self._report_end(refusal, was_answered)
                time.sleep(RECONNECT_SECONDS)

    def check(self) -> list[str]:
        """Check that the device can take part, without training.

        Returns
        -------
        list[str]
            Lines on what is in order, what differs from the server and whether that matters, and
            what could not be checked.

        Raises
        ------
        JoinError, Unreachable, ValueError
            Something is not in order.
        """
        lines = [f"examples: {self.device.describe()} in {self.device.examples}"]
        reach(self.server, self.keys.root_certificate)
        lines.append(f"server: {self.server} answers, its certificate is good")
        deadline = time.monotonic() + CHECK_SECONDS
        with self._connect() as connection:
            while time.monotonic() < deadline:
                if connection.ended:
                    refusal = connection.refusal()
                    if refusal:
                        raise JoinError(self._refused(refusal))
                    raise JoinError(f"the SuperNode ended; see {self.log}")
                if token := connection.runtime.claim(CLIENT_TASK):
                    with connection.runtime.task(token) as task:
                        task.refuse(f"{CHECK_ONLY} by fedssl join --check")
                        check_version(task)
                    lines.append(f"key: the server accepts client {self.device.client}'s")
                    return [*lines, *_compare(task)]
                time.sleep(POLL_SECONDS)
        lines.append(
            f"key: not refused within {CHECK_SECONDS:.0f} s; the server asked nothing meanwhile, "
            "so clocks and versions were not compared"
        )
        return lines

    def _take_part(self, connection: Connection) -> None:
        """Reply to messages until the connection ends, or must be restarted."""
        handler = MessageHandler(self.device, self.states, self.on_message)
        reached_since: float | None = None
        tested_at = 0.0
        while not connection.ended:
            if self.trusted is None and (token := connection.runtime.claim(CLIENT_TASK)):
                self._take(connection, token, handler)
            else:
                time.sleep(POLL_SECONDS)
            if connection.silent_seconds() < SILENT_SECONDS:
                reached_since = None
                if connection.was_answered:
                    self._report_once("")
                    self._refused_since = None
            elif time.monotonic() - tested_at > RECONNECT_SECONDS:
                if not self._is_there():
                    reached_since = None
                elif reached_since is None:
                    reached_since = time.monotonic()
                elif time.monotonic() - reached_since > ANSWERING_SECONDS:
                    self.on_message(
                        "the server answers, but the SuperNode has not spoken to it for "
                        f"{connection.silent_seconds():.0f} s: restarting it"
                    )
                    return
                tested_at = time.monotonic()

    def _take(self, connection: Connection, token: str, handler: MessageHandler) -> None:
        try:
            with connection.runtime.task(token) as task:
                handler.answer(task)
        except Exception as error:
            # Such as a reply after the server has ended: the next one may reach it.
            self.on_message(f"an answer was lost: {type(error).__name__}: {error}")

    def _wait_for_server(self) -> None:
        while not self._is_there():
            time.sleep(RECONNECT_SECONDS)

    def _is_there(self) -> bool:
        """Return whether the server answers, and report once why not."""
        try:
            reach(self.server, self.keys.root_certificate)
        except Unreachable as error:
            self._report_once(f"waiting for the server: {error}")
            return False
        return True

    def _is_well(self) -> bool:
        """Return whether the server has answered this client recently."""
        connection = self._connection
        return (
            connection is not None
            and not connection.ended
            and connection.was_answered
            and connection.silent_seconds() < 2 * SILENT_SECONDS
        )

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        config = f'{PARTITION}={self.device.client} examples="{self.device.examples.absolute()}"'
        arguments = [
            *("--grpc-rere", "--superlink", self.server),
            *("--root-certificates", str(self.keys.root_certificate)),
            *("--auth-supernode-private-key", str(self.keys.private)),
            *("--node-config", config),
        ]
        with connect(
            arguments, trusted=self.trusted, log=self.log, on_error=self._on_error
        ) as connection:
            self._connection = connection
            yield connection

    def _report_end(self, refusal: Refusal | None, was_answered: bool) -> None:
        """Report why the connection ended; raise a JoinError where another try cannot help."""
        if refusal is None:
            if not was_answered:
                self._report_once(f"the connection ended; see {self.log}")
            return
        now = time.monotonic()
        if was_answered or self._refused_since is None:
            self._refused_since = now
        if now - self._refused_since >= refusal.patience:
            raise JoinError(self._refused(refusal))
        self._report_once(f"{self._refused(refusal)}; trying again")

    def _on_error(self, error: str) -> None:
        """Report what Flower marks as an error, except for its exit code."""
        if not error.startswith("Exit Code:"):
            self.on_message(printable(error))

    def _refused(self, refusal: Refusal) -> str:
        return f"{self.server} refuses client {self.device.client}: {refusal.reason}"

    def _report_once(self, text: str) -> None:
        """Report a lasting condition once, when it begins; an empty text ends it."""
        if text and text != self._last_message:
            self.on_message(text)
        self._last_message = text


def _compare(task: ClientTask) -> list[str]:
    """Compare this device with the server that sent a task."""
    ahead = time.time() - task.message.metadata.created_at
    versions = read_versions(task.context.run_config.get(VERSIONS_KEY))
    return [compare_clocks(ahead), *compare_versions(versions)]


def prepare_participation(
    server: str,
    pki: Path,
    examples: Path,
    state: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    memory: int | None = None,
    disk: int | None = None,
    health: int | None = None,
    allow: Sequence[str] = (),
    trusted: Path | None = None,
    on_message: Callable[[str], None],
) -> Participation:
    """Check the options of `fedssl join`, and set the limits of this process.

    Parameters
    ----------
    server, pki, examples, state, health, allow, trusted
        As in `Participation` and `Device`, but as paths.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    threads, memory, disk : int | None
        The most cores, MB of memory in addition to the program's own, and MB on disk.
    on_message : Callable[[str], None]
        Called with messages on the progress.

    Raises
    ------
    ValueError
        An option is invalid; the message names the option, the value and the fix.
    """
    split_address(server)
    keys = ClientKeys(pki)
    keys.check()
    if trusted is not None and not trusted.is_file():
        raise ValueError(f"--trusted-entities = {trusted}: there is no such file")
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device = {device}: choose auto, cpu or cuda")
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise ValueError("--device = cuda: PyTorch sees no GPU here; use cpu")
    where = torch.device("cuda" if device != "cpu" and has_gpu else "cpu")
    joining_device = Device(examples, keys.number(), where, allow)
    on_message(f"{joining_device.describe()} in {examples}")
    if threads is not None:
        limit_cores(threads)
    if memory is not None:
        limit_memory(memory)
    state.mkdir(parents=True, exist_ok=True)
    states = PrivateStates(state, None if disk is None else disk * 1_000_000)
    log = state / "supernode.log"
    return Participation(
        server, keys, joining_device, states, log, on_message, health=health, trusted=trusted
    )
