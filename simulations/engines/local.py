"""The engine `local`: a Flower Grid whose clients run in this process, without serialisation."""

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from flwr.app import Context, Message, RecordDict

from clients.flower_adapter.error_replies import error_reply
from clients.flower_adapter.messages import Run, become_server, empty_run, number_message
from fedssl.base.tracing import span
from simulations.engines.engine import Engine
from simulations.engines.node_id import client_of, node_of
from simulations.errors import EngineLostError


class LocalGrid(Engine):
    """Runs each message's client on a thread pool, and yields the replies in the messages' order.

    The engine `ray` uses it, too: each thread then waits for a client that runs in another process.

    Node n is client n - 1. At most twice as many clients as threads run ahead of the reply that
    the strategy takes next, so that finished models do not fill the memory.

    Parameters
    ----------
    app : Callable[[Message, Context], Message]
        Called for every message: a ClientApp, or a function that runs one in another process.
    clients : int
        The number of clients.
    workers : int
        The number of clients that run at once. It never changes the result.
    """

    def __init__(self, app: Callable[[Message, Context], Message], clients: int, workers: int):
        become_server()
        self._app = app
        self._clients = clients
        self._workers = workers
        self._run = empty_run()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="client")
        self._numbers = itertools.count(1)
        self._started: dict[str, Future[Message]] = {}
        self.states: dict[int, RecordDict] = {}
        self._before: dict[int, RecordDict] = {}
        """The private states, before the current round, of the clients that have finished in it."""

    def close(self) -> None:
        """End the threads; clients that have not started are cancelled."""
        self._pool.shutdown(cancel_futures=True)

    def commit_states(self, server_round: int, counted: Collection[int]) -> None:
        """Restore the private states of clients whose replies were not merged."""
        before, self._before = self._before, {}
        # A copy: where the run was stopped in mid-round, clients may still finish meanwhile.
        for client, state in list(before.items()):
            if client not in counted:
                self.states[client] = state
                if not state:
                    del self.states[client]

    def set_run(self, run: Run) -> None:
        """Keep the run's description."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run's description."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the node of every client."""
        return range(node_of(0), node_of(self._clients))

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Start every message's client and return the messages' ids."""
        return [self._start(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are ready, each once."""
        ready = [i for i in message_ids if i in self._started and self._started[i].done()]
        return [self._started.pop(message_id).result() for message_id in ready]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Yield the reply to each message, in the messages' order.

        ``timeout`` is ignored: within one process every client replies, or fails with an error.

        Raises
        ------
        EngineLostError
            The processes in which clients run are lost.
        """
        waiting: deque[str] = deque()
        try:
            for message in messages:
                waiting.append(self._start(message))
                if len(waiting) == 2 * self._workers:
                    yield self._wait_for(waiting.popleft())
            while waiting:
                yield self._wait_for(waiting.popleft())
        finally:
            for message_id in waiting:
                self._started.pop(message_id).cancel()

    def _start(self, message: Message) -> str:
        message_id = str(next(self._numbers))
        number_message(message, message_id)
        self._started[message_id] = self._pool.submit(self._run_client, message)
        return message_id

    def _wait_for(self, message_id: str) -> Message:
        with span("wait"):
            return self._started.pop(message_id).result()

    def _run_client(self, message: Message) -> Message:
        client = client_of(message)
        # A client that fails in mid-round keeps its state: a new one replaces it only together
        # with a reply.
        state = self.states.get(client, RecordDict())
        context = Context(
            run_id=self._run.run_id,
            node_id=message.metadata.dst_node_id,
            node_config={"partition-id": client, "num-partitions": self._clients},
            state=RecordDict(dict(state.items())),
            run_config={},
        )
        try:
            reply = self._app(message, context)
            if not isinstance(reply, Message):
                raise TypeError(f"it answered with a {type(reply).__name__}, not a message")
        except EngineLostError:
            raise
        # Also a SystemExit: an exception of a client's code ends that client's round, not the run.
        except BaseException as error:
            return error_reply(message, error)
        if context.state:
            self._before.setdefault(client, state)
            self.states[client] = context.state
        return reply
