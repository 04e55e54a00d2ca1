"""A Flower Grid that gives a strategy only the nodes of the cohort, and only checked replies."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from flwr.app import Message
from flwr.serverapp import Grid

from simulations.engines.grid_proxy import WrappedGrid
from simulations.record.client_result import ClientResult
from strategies.messages import content_bytes

Check = Callable[[int, Message, Message], tuple[Message, ClientResult]]
"""Maps a client, its message and its reply to the reply for the strategy, and its result."""


class CohortGrid(WrappedGrid):
    """A Grid that lists only the cohort, sends in cohort order, and checks every reply.

    A Flower strategy samples among the nodes that its Grid lists, so any strategy uses exactly this
    cohort; and sums do not depend on which client answers first.

    Parameters
    ----------
    grid : Grid
        The engine, which yields replies in the order of the messages.
    node_of : Callable[[int], int]
        Returns the number of a client's node.
    check : Check
        Checks each reply before the strategy sees it.
    on_result : Callable[[ClientResult], None]
        Called with the result of each reply as it comes.
    on_end : Callable[[Sequence[ClientResult]], None]
        Called with all results of a round once the last reply was yielded, before the strategy
        finishes the merge; an exception that it raises ends the round.
    """

    def __init__(
        self,
        grid: Grid,
        node_of: Callable[[int], int],
        check: Check,
        on_result: Callable[[ClientResult], None] = lambda _: None,
        on_end: Callable[[Sequence[ClientResult]], None] = lambda _: None,
    ):
        super().__init__(grid)
        self._node_of = node_of
        self._check = check
        self._on_result = on_result
        self._on_end = on_end
        self._nodes: dict[int, int] = {}
        self.results: list[ClientResult] = []
        """The results of this round, in cohort order."""
        self.bytes_down = 0
        """Bytes sent to all clients this round."""

    def begin_round(self, cohort: Iterable[int]) -> None:
        """List only these clients from now on, in this order."""
        self._nodes = {self._node_of(client): client for client in cohort}
        self.results = []
        self.bytes_down = 0

    def get_node_ids(self) -> Iterable[int]:
        """Return the cohort's nodes, in cohort order."""
        return list(self._nodes)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Send in cohort order; check and yield each reply in the same order."""
        position = {node: index for index, node in enumerate(self._nodes)}
        ordered = sorted(messages, key=lambda message: position[message.metadata.dst_node_id])
        self.bytes_down += sum(content_bytes(m.content) for m in ordered)
        replies = iter(self._grid.send_and_receive(ordered, timeout=timeout))
        # Not by zip, which holds the last reply until the next one is there.
        for message in ordered:
            client = self._nodes[message.metadata.dst_node_id]
            reply, result = self._check(client, message, next(replies))
            self.results.append(result)
            self._on_result(result)
            yield reply
            # So that no model is held here while the next one is waited for.
            del reply
        # Let the engine end its round, too.
        for _ in replies:
            raise ValueError("the engine gave more replies than there were messages")
        self._on_end(self.results)
