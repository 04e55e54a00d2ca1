"""Take part in a federation with one's own examples: `fedssl join`."""

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
from clients.message_handler import CHECKED, VERSIONS, JoinError, MessageHandler, check_version
from clients.network import Unreachable, reach, split_address
from clients.private_states import PrivateStates
from clients.versions import compare_clocks, compare_versions, read_versions
from fedssl.base.printable import printable

POLL_SECONDS = 0.2
RECONNECT_SECONDS = 2.0
CHECK_SECONDS = 45.0
"""How long `check` waits for the server to ask who is there."""
SILENT_SECONDS = 30.0
"""How long a SuperNode may hear nothing of the server before the server is looked for. When all is
well it is answered every 3 s, and every 20 s while the client trains."""
ANSWERING_SECONDS = 10.0
"""How long the server may answer, but not the SuperNode, before that is started anew."""


@dataclass
class Participation:
    """How a device takes part.

    Parameters
    ----------
    server : str
        ``HOST:PORT`` of the server.
    keys : ClientKeys
        Those of this client.
    device : Device
        Its examples.
    states : PrivateStates
        What it keeps from round to round.
    log : Path
        Where the output of Flower's SuperNode goes.
    on_message : Callable[[str], None]
        Called with what happens.
    health : int | None
        A port for a gRPC health check on the loopback device; None for none.
    trusted : Path | None
        Flower's file of trusted entities: apps that one of them signed are then run, in place of
        this package's own.
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
        """Take part until interrupted; a server that goes away is waited for.

        Raises
        ------
        JoinError
            The server refuses this client.
        ValueError
            Its certificate is not good, or the port of the health check is taken.
        """
        address = f"127.0.0.1:{self.health}"
        with health_service(address, self._is_well) if self.health else nullcontext():
            has_spoken = False
            while True:
                # One that was there will come back: its next SuperNode takes seconds to start, and
                # then waits for it by itself.
                if not has_spoken:
                    self._wait_for_server()
                with self._connect() as connection:
                    if self._refused_since is None:
                        self.on_message(
                            f"connecting to {self.server} as client {self.device.client}"
                        )
                    self._take_part(connection)
                    refusal = connection.refusal() if connection.ended else None
                    has_spoken = connection.has_spoken
                self._consider(refusal, has_spoken)
                time.sleep(RECONNECT_SECONDS)

    def check(self) -> list[str]:
        """See that all is ready, and train nothing.

        Returns
        -------
        list[str]
            What was found good, what differs from the server's and whether that matters, and what
            could not be checked.

        Raises
        ------
        JoinError, Unreachable, ValueError
            What is not good.
        """
        good = [f"examples: {self.device.describe()} in {self.device.examples}"]
        reach(self.server, self.keys.root_certificate)
        good.append(f"server: {self.server} answers, its certificate is good")
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
                        task.refuse(f"{CHECKED} by fedssl join --check")
                        check_version(task)
                    good.append(f"key: the server accepts client {self.device.client}'s")
                    return [*good, *_compare(task)]
                time.sleep(POLL_SECONDS)
        good.append(
            f"key: not refused within {CHECK_SECONDS:.0f} s; the server asked nothing meanwhile, "
            "so clocks and versions were not compared"
        )
        return good

    def _take_part(self, connection: Connection) -> None:
        """Answer until the connection ends, or has to."""
        handler = MessageHandler(self.device, self.states, self.on_message)
        reached: float | None = None
        looked = 0.0
        while not connection.ended:
            if self.trusted is None and (token := connection.runtime.claim(CLIENT_TASK)):
                self._take(connection, token, handler)
            else:
                time.sleep(POLL_SECONDS)
            if connection.silent_seconds() < SILENT_SECONDS:
                reached = None
                if connection.has_spoken:
                    self._say_once("")
                    self._refused_since = None
            elif time.monotonic() - looked > RECONNECT_SECONDS:
                if not self._is_there():
                    reached = None
                elif reached is None:
                    reached = time.monotonic()
                elif time.monotonic() - reached > ANSWERING_SECONDS:
                    self.on_message(
                        "the server answers, but the SuperNode has not spoken to it for "
                        f"{connection.silent_seconds():.0f} s: starting it anew"
                    )
                    return
                looked = time.monotonic()

    def _take(self, connection: Connection, token: str, handler: MessageHandler) -> None:
        try:
            with connection.runtime.task(token) as task:
                handler.answer(task)
        except Exception as error:
            # Such as an answer that comes after the server has ended: the next one may be heard.
            self.on_message(f"an answer was lost: {type(error).__name__}: {error}")

    def _wait_for_server(self) -> None:
        while not self._is_there():
            time.sleep(RECONNECT_SECONDS)

    def _is_there(self) -> bool:
        """Say whether the server answers, and say once why not."""
        try:
            reach(self.server, self.keys.root_certificate)
        except Unreachable as error:
            self._say_once(f"waiting for the server: {error}")
            return False
        return True

    def _is_well(self) -> bool:
        """Say whether the server has answered this client of late."""
        connection = self._connection
        return (
            connection is not None
            and not connection.ended
            and connection.has_spoken
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

    def _consider(self, refusal: Refusal | None, has_spoken: bool) -> None:
        """Say why the connection ended; a JoinError says that another try will not help."""
        if refusal is None:
            if not has_spoken:
                self._say_once(f"the connection ended; see {self.log}")
            return
        now = time.monotonic()
        if has_spoken or self._refused_since is None:
            self._refused_since = now
        if now - self._refused_since >= refusal.patience:
            raise JoinError(self._refused(refusal))
        self._say_once(f"{self._refused(refusal)}; trying again")

    def _on_error(self, error: str) -> None:
        """Tell of what Flower marks as an error, but for its number of how it ended."""
        if not error.startswith("Exit Code:"):
            self.on_message(printable(error))

    def _refused(self, refusal: Refusal) -> str:
        return f"{self.server} refuses client {self.device.client}: {refusal.reason}"

    def _say_once(self, text: str) -> None:
        """Say what goes on for a while, when it begins; an empty text says that it has ended."""
        if text and text != self._last_message:
            self.on_message(text)
        self._last_message = text


def _compare(task: ClientTask) -> list[str]:
    """Compare this device with the server that sent a task."""
    ahead = time.time() - task.message.metadata.created_at
    versions = read_versions(task.context.run_config.get(VERSIONS))
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
    """Check what `fedssl join` was given, and set the limits of this process.

    Parameters
    ----------
    server, pki, examples, state, health, allow, trusted
        As `Participation` and `Device` have them, by their paths.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    threads, memory, disk : int | None
        The most cores, MB of memory beyond what the program itself has, and MB on disk.
    on_message : Callable[[str], None]
        Called with what happens.

    Raises
    ------
    ValueError
        Names the option, the value and the fix.
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
    participant = Device(examples, keys.number(), where, allow)
    on_message(f"{participant.describe()} in {examples}")
    if threads is not None:
        limit_cores(threads)
    if memory is not None:
        limit_memory(memory)
    state.mkdir(parents=True, exist_ok=True)
    states = PrivateStates(state, None if disk is None else disk * 1_000_000)
    log = state / "supernode.log"
    return Participation(
        server, keys, participant, states, log, on_message, health=health, trusted=trusted
    )
