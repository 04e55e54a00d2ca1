"""A Grid that shows a strategy only the cohort, and checked replies."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from flwr.app import Message
from flwr.serverapp import Grid

from simulations.engines.grid_proxy import WrappedGrid
from simulations.record.answer import Answer
from strategies.messages import content_bytes

Check = Callable[[int, Message, Message], tuple[Message, Answer]]
"""From a client, what it was sent and its reply, to the reply as the strategy may see it."""


class CohortGrid(WrappedGrid):
    """A Grid that lists only the cohort, sends in cohort order, and lets no reply in unchecked.

    So any Flower strategy, which samples among the nodes that it is shown, takes exactly our
    cohort, whatever it draws; and sums do not depend on who answers first.

    Parameters
    ----------
    grid : Grid
        The engine, which yields replies in the order of the messages.
    node_of : Callable[[int], int]
        The node of a client.
    check : Check
        What every reply passes before the strategy sees it.
    on_answer : Callable[[Answer], None]
        Called with each answer as it comes.
    on_end : Callable[[Sequence[Answer]], None]
        Called with all answers of a round before the strategy may merge them; what it raises ends
        the round.
    """

    def __init__(
        self,
        grid: Grid,
        node_of: Callable[[int], int],
        check: Check,
        on_answer: Callable[[Answer], None] = lambda _: None,
        on_end: Callable[[Sequence[Answer]], None] = lambda _: None,
    ):
        super().__init__(grid)
        self._node_of = node_of
        self._check = check
        self._on_answer = on_answer
        self._on_end = on_end
        self._nodes: dict[int, int] = {}
        self.answers: list[Answer] = []
        """This round's, in cohort order."""
        self.bytes_down = 0
        """The models sent to all clients this round."""

    def begin_round(self, cohort: Iterable[int]) -> None:
        """Show only these clients from now on, in this order."""
        self._nodes = {self._node_of(client): client for client in cohort}
        self.answers = []
        self.bytes_down = 0

    def get_node_ids(self) -> Iterable[int]:
        """Return the cohort's nodes, in cohort order."""
        return list(self._nodes)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Send in cohort order; check, note and yield each reply in the same order."""
        place = {node: number for number, node in enumerate(self._nodes)}
        ordered = sorted(messages, key=lambda message: place[message.metadata.dst_node_id])
        self.bytes_down += sum(content_bytes(m.content) for m in ordered)
        replies = iter(self._grid.send_and_receive(ordered, timeout=timeout))
        # Not by zip, which holds the last reply until the next one is there.
        for message in ordered:
            client = self._nodes[message.metadata.dst_node_id]
            reply, answer = self._check(client, message, next(replies))
            self.answers.append(answer)
            self._on_answer(answer)
            yield reply
            # So that no model is held here while the next one is waited for.
            del reply
        # Let the engine end its round, too.
        for _ in replies:
            raise ValueError("the engine gave more replies than there were messages")
        self._on_end(self.answers)
