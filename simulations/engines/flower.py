"""The engine `flower`: a Flower Grid whose clients are devices behind a SuperLink."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from clients.client_app import PARTITION
from clients.flower_adapter.error_replies import LOST, NOT_HERE, REFUSED, error_reply
from clients.flower_adapter.replies import BESIDE_THE_MODEL, CarefulGrid
from clients.message_handler import CHECKED
from fedssl.base.printable import printable
from fedssl.base.tracing import span
from simulations.engines.engine import Engine
from simulations.engines.grid_proxy import WrappedGrid
from simulations.engines.roster import Roster
from simulations.errors import RunError
from simulations.progress.watcher import Nobody, Watcher
from simulations.record.members import described
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

_ANSWER = {PARTITION, "num-examples"}
"""The metrics by which a device says who it is."""


@dataclass(frozen=True)
class Pace:
    """How often things are done, in seconds."""

    answer: float = 120.0
    """How long a device has to say who it is, before it is asked again."""
    refused: float = 10.0
    """How long a device stays refused, before it is asked again."""
    poll: float = 0.2
    """How often replies are asked for."""
    look: float = 1.0
    """How often it is seen who is here while replies are waited for."""
    repeat: float = 3.0
    """How long to wait before a round is run again."""


class DeviceGrid(WrappedGrid, Engine):
    """Send each message to the device that is the client, and yield the replies in their order.

    Node n is client n - 1; which of the SuperLink's nodes that is, each says when it comes. A
    client that is not there, or does not answer in time, counts as failed in that round, and takes
    part again once it is back. A node whose client may not take part is never asked, and what it
    sends is not counted.

    Parameters
    ----------
    grid : Grid
        Flower's own.
    engine : FlowerConfig
        How long to wait, and for how many.
    roster : Roster
        Who may take part.
    told : Callable[[str], None]
        Told who comes, and what is waited for.
    watcher : Watcher | None (default: None)
        Told who is connected, who comes, leaves and is refused.
    pace : Pace | None (default: None)
        How often it asks and looks.
    """

    def __init__(
        self,
        grid: Grid,
        engine: FlowerConfig,
        roster: Roster,
        told: Callable[[str], None],
        watcher: Watcher | None = None,
        pace: Pace | None = None,
    ):
        super().__init__(grid)
        self.repeats = True
        self._engine = engine
        self._roster = roster
        self._told = told
        self._watcher = watcher or Nobody()
        self._pace = pace or Pace()
        self._were_here: set[int] = set()
        self._met: set[int] = set()
        self._nodes: dict[int, int] = {}
        self._questions: dict[str, int] = {}
        self._not_before: dict[int, float] = {}
        self._said: dict[int, str] = {}
        self._errors: dict[int, str] = {}
        self._last_round = time.monotonic()
        self._looked = -math.inf
        self._last_counted: dict[int, int] = {}
        self.sizes: dict[int, int] = {}
        """How many examples each client has that was here."""
        self.states: dict[int, RecordDict] = {}
        """Always empty: what clients keep, they keep themselves."""

    def get_node_ids(self) -> Iterable[int]:
        """Return the node of every client, whether it is here or not."""
        return [client + 1 for client in self._roster.clients]

    def is_member(self, client: int) -> bool:
        """Say whether a client may still take part."""
        return client in self._roster.clients

    def size_of(self, client: int) -> int:
        """Return how many examples a client registered with; 0 before it was here."""
        return self.sizes.get(client, 0)

    def fewest(self, asked: int) -> int:
        """Return how many of so many clients have to answer: `min_clients`, or all of them."""
        return min(self._engine.min_clients, asked)

    def settle(self, server_round: int, counted: Collection[int]) -> None:
        """Note whose replies counted: each client is told with its next message."""
        self._last_counted |= dict.fromkeys(counted, server_round)
        self._last_round = time.monotonic() if counted else self._last_round

    def wait_to_repeat(self, good: int, asked: int) -> None:
        """Wait a little before a round is run again; a RunError says that it was long enough."""
        self._told(
            f"{good} of {asked} clients answered, but engine.min_clients = "
            f"{self._engine.min_clients}"
        )
        self._give_up_after(time.monotonic() - self._last_round, good)
        time.sleep(self._pace.repeat)

    def wait_for_clients(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait until all clients are here, or enough of them for long enough.

        That is ``round_timeout`` for `min_clients`, and ``give_up_after`` for fewer. Who may take
        part can change meanwhile.

        Parameters
        ----------
        check : Callable[[], None]
            Called now and then; what it raises ends the waiting.

        Raises
        ------
        RunError
            Too few came.
        """
        begin, said = time.monotonic(), -1
        while True:
            check()
            here, clients = len(self._here()), len(self._roster.clients)
            if clients != said:
                said = clients
                self._told(f"waiting for {clients} client{'s' * (clients != 1)}")
            if here == clients > 0:
                break
            waited = time.monotonic() - begin
            if here >= self._engine.min_clients and waited > self._engine.round_timeout:
                self._told(f"beginning with {here} of {clients} clients")
                return
            self._give_up_after(waited, here)
            time.sleep(self._pace.poll)
        self._last_round = time.monotonic()

    def wait_for_members(self, fault: Callable[[Collection[int]], str | None]) -> Mapping[int, int]:
        """Return the examples of each client that may take part; 0 of one that never was here."""
        begin, said = time.monotonic(), ""
        while True:
            self._here()
            clients = self._roster.clients
            if (why := fault(clients)) is None:
                return {client: self.sizes.get(client, 0) for client in clients}
            if why != said:
                said = why
                self._told(f"waiting for another client's key: {why}")
            if time.monotonic() - begin > self._engine.give_up_after:
                raise RunError(
                    f"{why}, for engine.give_up_after = {self._engine.give_up_after:g} s; add "
                    "clients by fedssl certs, or change the config, then go on with --resume"
                )
            time.sleep(self._pace.poll)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Yield the reply to each message, in the messages' order; an error where none came.

        Raises
        ------
        RunError
            Fewer than `min_clients` were here for ``give_up_after`` seconds.
        """
        asked = list(messages)
        self._wait_for_some([_client(message) for message in asked])
        deadline = time.monotonic() + self._engine.round_timeout
        for message, message_id in zip(asked, self._send(asked), strict=True):
            with span("wait"):
                reply = self._reply(message, message_id, deadline)
            yield reply
            # So that no model is held here while the next one is waited for.
            del reply

    def _send(self, messages: Iterable[Message]) -> list[str | None]:
        """Push what can be pushed, and return the id of each message; None where nobody is."""
        here = self._here()
        outgoing = {
            _client(message): Message(
                self._own_content(message),
                here[_client(message)],
                message.metadata.message_type,
                # Longer, so that a late answer is no error on the client's side.
                ttl=2 * self._engine.round_timeout,
                group_id=message.metadata.group_id,
            )
            for message in messages
            if _client(message) in here
        }
        if isinstance(self._grid, CarefulGrid):
            sent = max((content_bytes(m.content) for m in outgoing.values()), default=0)
            self._grid.most_bytes = 2 * sent + BESIDE_THE_MODEL
        pushed = self._grid.push_messages(list(outgoing.values())) if outgoing else []
        ids = dict(zip(outgoing, pushed, strict=True))
        return [ids.get(_client(message)) for message in messages]

    def _own_content(self, message: Message) -> RecordDict:
        """Return what a message holds, and by which of its rounds the client goes on."""
        last = self._last_counted.get(_client(message), 0)
        config = ConfigRecord({**config_of(message.content), LAST_COUNTED: last})
        return RecordDict({**message.content, CONFIG: config})

    def _reply(self, message: Message, message_id: str | None, deadline: float) -> Message:
        while True:
            if not self.is_member(_client(message)):
                left = "left the federation: its key is no longer among those of the server"
                return error_reply(message, left, REFUSED)
            if message_id is None:
                return error_reply(message, ConnectionError("is not connected"), NOT_HERE)
            if time.monotonic() - self._looked > self._pace.look:
                # So that who comes while a round runs takes part in the next one.
                self._here()
            for reply in self._grid.pull_messages([message_id]):
                return reply
            if time.monotonic() > deadline:
                late = TimeoutError(
                    f"no answer within engine.round_timeout = {self._engine.round_timeout:g} s"
                )
                return error_reply(message, late, NOT_HERE)
            time.sleep(self._pace.poll)

    def _wait_for_some(self, cohort: list[int]) -> None:
        told = False
        while True:
            nodes = self._here()
            members = set(self._roster.clients)
            left = [client for client in cohort if client in members]
            if (here := len(nodes.keys() & set(left))) >= self.fewest(len(left)):
                return
            if not told:
                told = True
                self._told(f"waiting for clients: {here} of the cohort's {len(left)} are here")
            self._give_up_after(time.monotonic() - self._last_round, here)
            time.sleep(self._pace.poll)

    def _give_up_after(self, seconds: float, here: int) -> None:
        if seconds > self._engine.give_up_after:
            raise RunError(
                f"only {here} client(s) for engine.give_up_after = {self._engine.give_up_after:g} "
                f"s, but engine.min_clients = {self._engine.min_clients}; see to the clients, then "
                "go on with --resume"
            )

    def _here(self) -> dict[int, int]:
        """Return the node of each client that is connected; ask new ones who they are."""
        connected = set(self._grid.get_node_ids())
        self._looked = time.monotonic()
        clients, nodes = set(self._roster.clients), self._roster.nodes
        if nodes is not None:
            connected &= nodes.keys()
            self._nodes = {c: node for c, node in self._nodes.items() if nodes.get(node) == c}
        self._greet(connected - set(self._nodes.values()))
        self._end_if_all_give_one_error(connected)
        here = {c: node for c, node in self._nodes.items() if c in clients and node in connected}
        self._note_who_is_here(set(here))
        return here

    def _note_who_is_here(self, here: set[int]) -> None:
        for client in sorted(self._were_here - here):
            # Else its key was removed, which is noted where that is seen.
            if self.is_member(client):
                self._watcher.note("left", client=client, why="it is not connected any more")
        for client in sorted(here - self._were_here):
            self._watcher.note("joined", client=client, examples=self.sizes[client])
            if client in self._met:
                # It may have been started anew, with other examples.
                self._ask(self._nodes[client])
        self._met |= here
        self._were_here = here
        self._watcher.seen(here)

    def _end_if_all_give_one_error(self, connected: set[int]) -> None:
        """Raise a RunError where every client answers with the same error: it is the run's fault.

        Errors that differ may be the devices' own, which can be mended there.
        """
        errors = {node: why for node, why in self._errors.items() if node in connected}
        self._errors = errors
        if 0 < len(errors) == len(self._roster.clients) and len(set(errors.values())) == 1:
            (why,) = set(errors.values())
            raise RunError(
                f"every client answers with the same error, so none can take part: {why}"
            )

    def _greet(self, strangers: set[int]) -> None:
        """Take what strangers answered, and ask those who were not asked of late."""
        if self._questions:
            for reply in self._grid.pull_messages(list(self._questions)):
                self._welcome(self._questions.pop(reply.metadata.reply_to_message_id), reply)
        now = time.monotonic()
        for node in sorted(strangers - set(self._nodes.values())):
            if now >= self._not_before.get(node, -math.inf):
                self._ask(node)

    def _ask(self, node: int) -> None:
        """Ask a node which client it is, and how many examples it has."""
        self._not_before[node] = time.monotonic() + self._pace.answer
        question = Message(RecordDict(), node, MessageType.QUERY, ttl=self._pace.answer)
        others = {i: who for i, who in self._questions.items() if who != node}
        self._questions = others | dict.fromkeys(self._grid.push_messages([question]), node)

    def _welcome(self, node: int, reply: Message) -> None:
        if reply.has_error() and reply.error.code in LOST:
            # It went before it could answer.
            self._not_before.pop(node, None)
            return
        if reply.has_error():
            reason = reply.error.reason or "no reason given"
            self._refuse(node, reason)
            if not reason.startswith(CHECKED):
                self._errors[node] = printable(reason)
            return
        self._errors.pop(node, None)
        try:
            client, size = self._registered(node, reply.content)
        except ValueError as error:
            self._refuse(node, str(error))
        else:
            changed = client in self._met and self.sizes.get(client) != size
            self._nodes[client], self.sizes[client] = node, size
            self._told(f"client {client} is here, with {size} examples")
            if changed:
                self._watcher.note("joined", client=client, examples=size)

    def _registered(self, node: int, content: RecordDict) -> tuple[int, int]:
        """Return which client a node says it is, and how many examples it has.

        Raises
        ------
        ValueError
            Its answer is not one, or not true.
        """
        metrics = metrics_of(content)
        if unknown := sorted(
            map(str, [*(content.keys() - {METRICS}), *(metrics.keys() - _ANSWER)])
        ):
            raise ValueError(f"its answer has an unexpected {unknown[0]}")
        client = metrics.get(PARTITION)
        clients, nodes = self._roster.clients, self._roster.nodes
        if not isinstance(client, int) or client not in clients:
            raise ValueError(f"client {client}: there are {described(clients)}")
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
        """Say why a node takes no part, once; it is asked again later, for it may be mended."""
        reason = printable(why)
        self._not_before[node] = time.monotonic() + self._pace.refused
        self._nodes = {client: known for client, known in self._nodes.items() if known != node}
        if self._said.get(node) != reason:
            self._said[node] = reason
            client = (self._roster.nodes or {}).get(node)
            who = f"node {node}" if client is None else f"client {client}"
            self._told(f"{who} takes no part: {reason}")
            whose = {"node": node} if client is None else {"client": client}
            self._watcher.note("refused", **whose, why=reason)


def _client(message: Message) -> int:
    return message.metadata.dst_node_id - 1
