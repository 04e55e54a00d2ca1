"""The engine `flower`: a Flower Grid whose clients are devices that connect to a SuperLink."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from clients.client_app import PARTITION
from clients.flower_adapter.error_replies import LOST, NOT_HERE, REFUSED, error_reply
from clients.flower_adapter.replies import BESIDE_THE_MODEL, CarefulGrid
from clients.message_handler import CHECK_ONLY
from fedssl.base.printable import printable
from fedssl.base.tracing import span
from simulations.engines.engine import Engine
from simulations.engines.grid_proxy import WrappedGrid
from simulations.engines.node_id import client_of, node_of
from simulations.engines.roster import Roster
from simulations.errors import RunError
from simulations.progress.watcher import SilentWatcher, Watcher
from simulations.record.members import describe_clients
from simulations.settings.engines import FlowerConfig
from strategies.messages import (
    CONFIG,
    LAST_COUNTED,
    METRICS,
    config_of,
    content_bytes,
    metrics_of,
)
from strategies.reply import check_whole

_REGISTRATION = {PARTITION, "num-examples"}
"""The metrics by which a device registers."""


@dataclass(frozen=True)
class Intervals:
    """Times between repeated actions, in seconds."""

    answer: float = 120.0
    """The time that a device has to register, before it is asked again."""
    refused: float = 10.0
    """The time that a device stays refused, before it is asked again."""
    poll: float = 0.2
    """The time between two requests for replies."""
    look: float = 1.0
    """The time between two checks of the connected devices while a round waits for replies."""
    repeat: float = 3.0
    """The time before a round is run again."""


class DeviceGrid(WrappedGrid, Engine):
    """Sends each message to its client's device, and yields the replies in the messages' order.

    Node n is client n - 1. Each device says which client it is when it connects, so the SuperLink's
    numbers of nodes do not matter. A client that is not connected or does not answer in time fails
    in that round, and takes part again once it is back. A device whose client may not take part
    gets no messages, and its replies are ignored.

    Parameters
    ----------
    grid : Grid
        Flower's Grid.
    engine : FlowerConfig
        The config: how long to wait, and for how many clients.
    roster : Roster
        The clients that may take part.
    on_message : Callable[[str], None]
        Called with a message on each client that comes, and on what the server waits for.
    watcher : Watcher | None (default: None)
        Its `on_event` is called for clients that come, leave or are refused, its `on_connected`
        with all that are connected.
    intervals : Intervals | None (default: None)
        The times between repeated actions; None for the defaults.
    """

    def __init__(
        self,
        grid: Grid,
        engine: FlowerConfig,
        roster: Roster,
        on_message: Callable[[str], None],
        watcher: Watcher | None = None,
        intervals: Intervals | None = None,
    ):
        super().__init__(grid)
        self.repeats = True
        self._engine = engine
        self._roster = roster
        self._on_message = on_message
        self._watcher = watcher or SilentWatcher()
        self._intervals = intervals or Intervals()
        self._connected_before: set[int] = set()
        self._registered_clients: set[int] = set()
        self._nodes: dict[int, int] = {}
        self._questions: dict[str, int] = {}
        self._not_before: dict[int, float] = {}
        self._reported: dict[int, str] = {}
        self._errors: dict[int, str] = {}
        self._last_round = time.monotonic()
        self._last_check = -math.inf
        self._last_counted: dict[int, int] = {}
        self.sizes: dict[int, int] = {}
        """The number of examples of each client that has registered."""
        self.states: dict[int, RecordDict] = {}
        """Always empty: each device stores its own state."""

    def get_node_ids(self) -> Iterable[int]:
        """Return the node of every client, whether it is connected or not."""
        return [node_of(client) for client in self._roster.clients]

    def is_member(self, client: int) -> bool:
        """Return whether a client may still take part."""
        return client in self._roster.clients

    def size_of(self, client: int) -> int:
        """Return the number of examples that a client registered; 0 before it has registered."""
        return self.sizes.get(client, 0)

    def min_replies(self, cohort_size: int) -> int:
        """Return how many clients of a cohort must answer for the round to count."""
        return min(self._engine.min_clients, cohort_size)

    def commit_states(self, server_round: int, counted: Collection[int]) -> None:
        """Record whose replies were merged; each client learns it from its next message."""
        self._last_counted |= dict.fromkeys(counted, server_round)
        self._last_round = time.monotonic() if counted else self._last_round

    def wait_to_repeat(self, succeeded: int, cohort_size: int) -> None:
        """Wait before a round is run again; raise a RunError after ``give_up_after`` seconds."""
        self._on_message(
            f"{succeeded} of {cohort_size} clients answered, but engine.min_clients = "
            f"{self._engine.min_clients}"
        )
        self._give_up_after(time.monotonic() - self._last_round, succeeded)
        time.sleep(self._intervals.repeat)

    def wait_for_clients(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait until all clients are connected, or enough of them.

        It waits ``round_timeout`` seconds for all, and ``give_up_after`` for `min_clients` of them.
        The clients that may take part can change meanwhile.

        Parameters
        ----------
        check : Callable[[], None]
            Called repeatedly; an exception that it raises ends the waiting.

        Raises
        ------
        RunError
            Too few clients connected.
        """
        started_at, reported = time.monotonic(), -1
        while True:
            check()
            here, clients = len(self._here()), len(self._roster.clients)
            if clients != reported:
                reported = clients
                self._on_message(f"waiting for {clients} client{'s' * (clients != 1)}")
            if here == clients > 0:
                break
            waited = time.monotonic() - started_at
            if here >= self._engine.min_clients and waited > self._engine.round_timeout:
                self._on_message(f"beginning with {here} of {clients} clients")
                return
            self._give_up_after(waited, here)
            time.sleep(self._intervals.poll)
        self._last_round = time.monotonic()

    def wait_for_members(self, fault: Callable[[Collection[int]], str | None]) -> Mapping[int, int]:
        """Return the example count of each client that may take part; 0 before it registered."""
        started_at, reported = time.monotonic(), ""
        while True:
            self._here()
            clients = self._roster.clients
            if (why := fault(clients)) is None:
                return {client: self.sizes.get(client, 0) for client in clients}
            if why != reported:
                reported = why
                self._on_message(f"waiting for another client's key: {why}")
            if time.monotonic() - started_at > self._engine.give_up_after:
                raise RunError(
                    f"{why}, for engine.give_up_after = {self._engine.give_up_after:g} s; add "
                    "clients by fedssl certs, or change the config, then go on with --resume"
                )
            time.sleep(self._intervals.poll)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Yield the reply to each message, in the messages' order, or an error where none came.

        Raises
        ------
        RunError
            Fewer than `min_clients` were connected for ``give_up_after`` seconds.
        """
        pending = list(messages)
        self._wait_for_some([client_of(message) for message in pending])
        deadline = time.monotonic() + self._engine.round_timeout
        for message, message_id in zip(pending, self._send(pending), strict=True):
            with span("wait"):
                reply = self._reply(message, message_id, deadline)
            yield reply
            # So that no model is held here while the next one is waited for.
            del reply

    def _send(self, messages: Iterable[Message]) -> list[str | None]:
        """Send the messages to connected devices; return each message's id, None where unsent."""
        here = self._here()
        outgoing = {
            client_of(message): Message(
                self._content_for_device(message),
                here[client_of(message)],
                message.metadata.message_type,
                # Longer, so that a late reply is no error on the device.
                ttl=2 * self._engine.round_timeout,
                group_id=message.metadata.group_id,
            )
            for message in messages
            if client_of(message) in here
        }
        if isinstance(self._grid, CarefulGrid):
            sent = max((content_bytes(m.content) for m in outgoing.values()), default=0)
            self._grid.most_bytes = 2 * sent + BESIDE_THE_MODEL
        pushed = self._grid.push_messages(list(outgoing.values())) if outgoing else []
        ids = dict(zip(outgoing, pushed, strict=True))
        return [ids.get(client_of(message)) for message in messages]

    def _content_for_device(self, message: Message) -> RecordDict:
        """Return a message's content with the last round whose reply of the client was merged."""
        last = self._last_counted.get(client_of(message), 0)
        config = ConfigRecord({**config_of(message.content), LAST_COUNTED: last})
        return RecordDict({**message.content, CONFIG: config})

    def _reply(self, message: Message, message_id: str | None, deadline: float) -> Message:
        while True:
            if not self.is_member(client_of(message)):
                reason = "left the federation: its key is no longer among those of the server"
                return error_reply(message, reason, REFUSED)
            if message_id is None:
                return error_reply(message, ConnectionError("is not connected"), NOT_HERE)
            if time.monotonic() - self._last_check > self._intervals.look:
                # So that a device that connects during a round takes part in the next one.
                self._here()
            for reply in self._grid.pull_messages([message_id]):
                return reply
            if time.monotonic() > deadline:
                late = TimeoutError(
                    f"no answer within engine.round_timeout = {self._engine.round_timeout:g} s"
                )
                return error_reply(message, late, NOT_HERE)
            time.sleep(self._intervals.poll)

    def _wait_for_some(self, cohort: list[int]) -> None:
        reported = False
        while True:
            nodes = self._here()
            members = set(self._roster.clients)
            remaining = [client for client in cohort if client in members]
            here = len(nodes.keys() & set(remaining))
            if here >= self.min_replies(len(remaining)):
                return
            if not reported:
                reported = True
                self._on_message(
                    f"waiting for clients: {here} of the cohort's {len(remaining)} are here"
                )
            self._give_up_after(time.monotonic() - self._last_round, here)
            time.sleep(self._intervals.poll)

    def _give_up_after(self, seconds: float, here: int) -> None:
        if seconds > self._engine.give_up_after:
            raise RunError(
                f"only {here} client(s) for engine.give_up_after = {self._engine.give_up_after:g} "
                f"s, but engine.min_clients = {self._engine.min_clients}; see to the clients, then "
                "go on with --resume"
            )

    def _here(self) -> dict[int, int]:
        """Return the node of each connected client, and ask new devices to register."""
        connected = set(self._grid.get_node_ids())
        self._last_check = time.monotonic()
        clients, nodes = set(self._roster.clients), self._roster.nodes
        if nodes is not None:
            connected &= nodes.keys()
            self._nodes = {c: node for c, node in self._nodes.items() if nodes.get(node) == c}
        self._ask_to_register(connected - set(self._nodes.values()))
        self._raise_common_error(connected)
        here = {c: node for c, node in self._nodes.items() if c in clients and node in connected}
        self._report_changes(set(here))
        return here

    def _report_changes(self, here: set[int]) -> None:
        for client in sorted(self._connected_before - here):
            # Else its key was removed, which the roster reports.
            if self.is_member(client):
                self._watcher.on_event("left", client=client, why="it is not connected any more")
        for client in sorted(here - self._connected_before):
            self._watcher.on_event("joined", client=client, examples=self.sizes[client])
            if client in self._registered_clients:
                # It may have been restarted, with other examples.
                self._ask(self._nodes[client])
        self._registered_clients |= here
        self._connected_before = here
        self._watcher.on_connected(here)

    def _raise_common_error(self, connected: set[int]) -> None:
        """Raise a RunError where all clients answer with one error, which the run must have caused.

        Different errors may come from the devices, and can be fixed there.
        """
        errors = {node: why for node, why in self._errors.items() if node in connected}
        self._errors = errors
        if 0 < len(errors) == len(self._roster.clients) and len(set(errors.values())) == 1:
            (why,) = set(errors.values())
            raise RunError(
                f"every client answers with the same error, so none can take part: {why}"
            )

    def _ask_to_register(self, unregistered: set[int]) -> None:
        """Take the registrations that have come, and ask devices that were not asked recently."""
        if self._questions:
            for reply in self._grid.pull_messages(list(self._questions)):
                self._register(self._questions.pop(reply.metadata.reply_to_message_id), reply)
        now = time.monotonic()
        for node in sorted(unregistered - set(self._nodes.values())):
            if now >= self._not_before.get(node, -math.inf):
                self._ask(node)

    def _ask(self, node: int) -> None:
        """Ask a device which client it is, and how many examples it has."""
        self._not_before[node] = time.monotonic() + self._intervals.answer
        question = Message(RecordDict(), node, MessageType.QUERY, ttl=self._intervals.answer)
        others = {i: other for i, other in self._questions.items() if other != node}
        self._questions = others | dict.fromkeys(self._grid.push_messages([question]), node)

    def _register(self, node: int, reply: Message) -> None:
        if reply.has_error() and reply.error.code in LOST:
            # It disconnected before it could answer.
            self._not_before.pop(node, None)
            return
        if reply.has_error():
            reason = reply.error.reason or "no reason given"
            self._refuse(node, reason)
            if not reason.startswith(CHECK_ONLY):
                self._errors[node] = printable(reason)
            return
        self._errors.pop(node, None)
        try:
            client, size = self._read_registration(node, reply.content)
        except ValueError as error:
            self._refuse(node, str(error))
        else:
            changed = client in self._registered_clients and self.sizes.get(client) != size
            self._nodes[client], self.sizes[client] = node, size
            self._on_message(f"client {client} is here, with {size} examples")
            if changed:
                self._watcher.on_event("joined", client=client, examples=size)

    def _read_registration(self, node: int, content: RecordDict) -> tuple[int, int]:
        """Return the client's number and its number of examples that a device registers.

        Raises
        ------
        ValueError
            The answer is malformed, or contradicts the device's key.
        """
        metrics = metrics_of(content)
        if unknown := sorted(
            map(str, [*(content.keys() - {METRICS}), *(metrics.keys() - _REGISTRATION)])
        ):
            raise ValueError(f"its answer has an unexpected {unknown[0]}")
        client = metrics.get(PARTITION)
        clients, nodes = self._roster.clients, self._roster.nodes
        if not isinstance(client, int) or client not in clients:
            raise ValueError(f"client {client}: there are {describe_clients(clients)}")
        if nodes is not None and nodes.get(node) != client:
            raise ValueError(f"it says that it is client {client}")
        try:
            size = check_whole(
                "num-examples", metrics.get("num-examples"), self._engine.max_examples
            )
        except ValueError as error:
            raise ValueError(f"{error} (engine.max_examples)") from None
        return client, size

    def _refuse(self, node: int, why: str) -> None:
        """Report once why a device takes no part; it is asked again, since it may be fixed."""
        reason = printable(why)
        self._not_before[node] = time.monotonic() + self._intervals.refused
        self._nodes = {client: other for client, other in self._nodes.items() if other != node}
        if self._reported.get(node) != reason:
            self._reported[node] = reason
            client = (self._roster.nodes or {}).get(node)
            sender = f"node {node}" if client is None else f"client {client}"
            self._on_message(f"{sender} takes no part: {reason}")
            fields = {"node": node} if client is None else {"client": client}
            self._watcher.on_event("refused", **fields, why=reason)
