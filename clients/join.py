"""Take part in a federation with one's own images: `fedssl join`."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from clients.child import Child
from clients.client_app import PARTITION, PRIVATE, make_client_app, round_of
from clients.device import Device
from clients.flower_runtime import CLIENT_TASK, ClientTask, Runtime, new_secret
from clients.keys import ClientKeys
from clients.limits import limit_cores, limit_memory
from clients.private_states import PrivateStates
from clients.reaching import Unreachable, free_port, parse, reach
from strategies.messages import (
    LAST_COUNTED,
    arrays_of,
    config_of,
    metrics_of,
    to_record,
    to_state,
)

SUPERNODE = "flwr.supernode.cli:flower_supernode"
LEARNING, RUN = "learning", "run"
"""Keys of a run's config: what a device is to learn, and the name that outlives the server."""
POLL_SECONDS = 0.2
RECONNECT_SECONDS = 5.0
CHECK_SECONDS = 45.0
"""How long `check` waits for the server to ask who is there."""
REFUSED = re.compile(r"\[code: (\d+)\]\s*(.*)")


class JoinError(RuntimeError):
    """A device cannot take part."""


@dataclass(frozen=True)
class Joining:
    """How a device takes part.

    Parameters
    ----------
    server : str
        ``HOST:PORT`` of the server.
    keys : ClientKeys
        Those of this client.
    device : Device
        Its images.
    states : PrivateStates
        What it keeps from round to round.
    log : Path
        Where the output of Flower's SuperNode goes.
    told : Callable[[str], None]
        Told of what happens.
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
    told: Callable[[str], None]
    health: int | None = None
    trusted: Path | None = None

    def run(self) -> None:
        """Take part until interrupted; a server that goes away is waited for.

        Raises
        ------
        JoinError
            The server refuses this client.
        ValueError
            Its certificate is not good.
        """
        while True:
            self._wait_for_server()
            with self._supernode() as (node, runtime):
                self.told(f"connecting to {self.server} as client {self.device.client}")
                answering = Answering(self.device, self.states, self.told)
                while not node.ended:
                    if self.trusted is None and (token := runtime.claim(CLIENT_TASK)):
                        self._take(runtime, token, answering)
                    else:
                        time.sleep(POLL_SECONDS)
                self._explain(node)
            time.sleep(RECONNECT_SECONDS)

    def check(self) -> list[str]:
        """See that all is ready, and train nothing.

        Returns
        -------
        list[str]
            What was found good, and what could not be checked.

        Raises
        ------
        JoinError, Unreachable, ValueError
            What is not good.
        """
        good = [f"images: {self.device.count()} in {self.device.images}"]
        reach(self.server, self.keys.root_certificate)
        good.append(f"server: {self.server} answers, its certificate is good")
        deadline = time.monotonic() + CHECK_SECONDS
        with self._supernode() as (node, runtime):
            while time.monotonic() < deadline:
                if node.ended:
                    self._explain(node)
                    raise JoinError(f"the SuperNode ended; see {self.log}")
                if token := runtime.claim(CLIENT_TASK):
                    with runtime.task(token) as task:
                        check_version(task)
                        task.refuse("was only checked by fedssl join --check")
                    good.append(f"key: the server accepts client {self.device.client}'s")
                    good.append(f"version: both have fedssl {version('fedssl')}")
                    return good
                time.sleep(POLL_SECONDS)
        good.append(
            f"key: not refused within {CHECK_SECONDS:.0f} s; the server asked nothing meanwhile, "
            "so the versions were not compared"
        )
        return good

    def _take(self, runtime: Runtime, token: str, answering: "Answering") -> None:
        try:
            with runtime.task(token) as task:
                answering.answer(task)
        except Exception as error:
            # Such as an answer that comes after the server has ended: the next one may be heard.
            self.told(f"an answer was lost: {type(error).__name__}: {error}")

    def _wait_for_server(self) -> None:
        told = False
        while True:
            try:
                reach(self.server, self.keys.root_certificate)
            except Unreachable as error:
                if not told:
                    self.told(f"waiting for the server: {error}")
                    told = True
                time.sleep(RECONNECT_SECONDS)
            else:
                return

    @contextmanager
    def _supernode(self) -> Iterator[tuple[Child, Runtime]]:
        with ExitStack() as stack:
            secret, secret_file = stack.enter_context(new_secret())
            port = free_port()
            config = f'{PARTITION}={self.device.client} images="{self.device.images.absolute()}"'
            arguments = [
                *("--grpc-rere", "--superlink", self.server),
                *("--root-certificates", str(self.keys.root_certificate)),
                *("--auth-supernode-private-key", str(self.keys.private)),
                *("--host", "127.0.0.1", "--port", str(port), "--node-config", config),
            ]
            if self.trusted is None:
                arguments += ["--isolation", "process"]
                arguments += ["--superexec-auth-secret-file", str(secret_file)]
            else:
                arguments += ["--trusted-entities", str(self.trusted)]
            if self.health is not None:
                arguments += ["--health-server-address", f"127.0.0.1:{self.health}"]
            node = stack.enter_context(Child(SUPERNODE, arguments, self.log, self.told))
            runtime = Runtime(f"127.0.0.1:{port}", secret)
            stack.callback(runtime.close)
            yield node, runtime

    def _explain(self, node: Child) -> None:
        """Raise what the SuperNode's last lines mean, where they mean that we are refused."""
        text = "\n".join(node.last_lines)
        if found := REFUSED.search(text):
            raise JoinError(
                f"{self.server} refuses client {self.device.client}: {found[2]} (Flower's code "
                f"{found[1]}); ask who runs the server whether it has this client's client.pub"
            )
        self.told(f"the connection ended; see {self.log}")


def prepare_joining(
    server: str,
    pki: Path,
    images: Path,
    state: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    memory: int | None = None,
    disk: int | None = None,
    health: int | None = None,
    allow: Sequence[str] = (),
    trusted: Path | None = None,
    told: Callable[[str], None],
) -> Joining:
    """Check what `fedssl join` was given, and set the limits of this process.

    Parameters
    ----------
    server, pki, images, state, health, allow, trusted
        As `Joining` and `Device` have them, by their paths.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    threads, memory, disk : int | None
        The most cores, MB of memory beyond what the program itself has, and MB on disk.
    told : Callable[[str], None]
        Told of what happens.

    Raises
    ------
    ValueError
        Names the option, the value and the fix.
    """
    parse(server)
    keys = ClientKeys(pki)
    keys.check()
    if trusted is not None and not trusted.is_file():
        raise ValueError(f"--trusted-entities = {trusted}: there is no such file")
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device = {device}: choose auto, cpu or cuda")
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise ValueError("--device = cuda: PyTorch sees no GPU here; use cpu")
    own = torch.device("cuda" if device != "cpu" and has_gpu else "cpu")
    found = Device(images, keys.number(), own, allow)
    told(f"{found.count()} images in {images}")
    if threads is not None:
        limit_cores(threads)
    if memory is not None:
        limit_memory(memory)
    state.mkdir(parents=True, exist_ok=True)
    states = PrivateStates(state, None if disk is None else disk * 1_000_000)
    log = state / "supernode.log"
    return Joining(server, keys, found, states, log, told, health=health, trusted=trusted)


class Answering:
    """Answers the server's messages by the client app that is installed here.

    Parameters
    ----------
    device : Device
        Its images.
    states : PrivateStates
        What it keeps from round to round.
    told : Callable[[str], None]
        Told of each round.
    """

    def __init__(self, device: Device, states: PrivateStates, told: Callable[[str], None]):
        self._device = device
        self._states = states
        self._told = told
        self._app = make_client_app(lambda context: device.runtime(_text(context, LEARNING)))

    def answer(self, task: ClientTask) -> None:
        """Answer one message, if only by why it cannot be."""
        try:
            check_version(task)
            reply = self._train_or_tell(task.message, task.context, self._app)
        # A SystemExit, too: what training raises ends this round for this device, not its service.
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            self._told(f"this client takes no part: {reason}")
            task.refuse(reason)
        else:
            task.reply(reply)

    def _train_or_tell(self, message: Message, context: Context, app: ClientApp) -> Message:
        context.node_config[PARTITION] = self._device.client
        if message.metadata.message_type != "train":
            return app(message, context)
        config = config_of(message.content)
        run, server_round = _text(context, RUN), round_of(config)
        last = _last_counted(config, server_round)
        kept = self._states.before(run, last + 1)
        context.state = RecordDict({PRIVATE: to_record(kept)} if kept else {})
        reply = app(message, context)
        if PRIVATE in context.state:
            state = to_state(arrays_of(context.state, PRIVATE))
            self._states.keep(run, server_round, state, before=last + 1)
        metrics = metrics_of(reply.content)
        self._told(
            f"round {server_round}: {metrics['num-examples']} images, loss "
            f"{metrics['train-loss']:.4f}, {metrics['seconds']:.1f} s"
        )
        return reply


def check_version(task: ClientTask) -> None:
    """See that the server has the fedssl that is installed here.

    Raises
    ------
    JoinError
        It has another.
    """
    own = version("fedssl")
    if (task.run.fab_id, task.run.fab_version) != ("fedssl/fedssl", own):
        raise JoinError(
            f"the server runs {task.run.fab_id} {task.run.fab_version}, this client has fedssl "
            f"{own}; install the same on both"
        )


def _last_counted(config: ConfigRecord, server_round: int) -> int:
    """Return the last round, below this one, in which this client's reply counted."""
    last = config.get(LAST_COUNTED, server_round - 1)
    if not isinstance(last, int) or not 0 <= last < server_round:
        raise JoinError(
            f"the server's message has {LAST_COUNTED} = {last!r} in round {server_round}"
        )
    return last


def _text(context: Context, key: str) -> str:
    value = context.run_config.get(key)
    if not isinstance(value, str) or not value:
        raise JoinError(f"the server's run has no {key}: was it begun by fedssl serve?")
    return value
