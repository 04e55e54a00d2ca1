"""Grids that keep a round's replies, and that answer by them."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from flwr.app import Message
from flwr.serverapp import Grid

from clients.client_app import read_round
from fedssl.client_rules import ClientRuleConfig
from fedssl.training.instructions import RULES, rules_to_json
from simulations.engines.grid_proxy import WrappedGrid
from simulations.engines.node_id import client_of
from simulations.replaying.kept_round import Moment
from strategies.messages import DIVERGENCE, config_of, read_instructions


class KeepingGrid(WrappedGrid):
    """Passes all on, and tells of each reply of one round before it does.

    Parameters
    ----------
    grid : Grid
        The engine.
    server_round : int
        The round.
    keep : Callable[[int, Message], None]
        Told of client and reply, in cohort order.
    measuring : tuple[ClientRuleConfig, ...]
        Client rules that its clients follow, too; they only measure.
    """

    def __init__(
        self,
        grid: Grid,
        server_round: int,
        keep: Callable[[int, Message], None],
        measuring: tuple[ClientRuleConfig, ...],
    ):
        super().__init__(grid)
        self._round = server_round
        self._keep = keep
        self._measuring = measuring

    def get_node_ids(self) -> Iterable[int]:
        """Pass on."""
        return self._grid.get_node_ids()

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Yield the replies in the messages' order."""
        sent = list(messages)
        is_kept = _is_of(self._round, sent)
        for message in sent if is_kept and self._measuring else ():
            rules = read_instructions(config_of(message.content)).rules
            more = tuple(rule for rule in self._measuring if rule not in rules)
            config_of(message.content)[RULES] = rules_to_json((*rules, *more))
        replies = self._grid.send_and_receive(sent, timeout=timeout)
        for message, reply in zip(sent, replies, strict=True):
            if is_kept:
                self._keep(client_of(message), reply)
            yield reply


class ReplayingGrid(WrappedGrid):
    """Answers the messages of one round by replies that were kept; all others go to the engine.

    Parameters
    ----------
    grid : Grid
        The engine.
    moment : Moment | None
        The round; None where all go to the engine.
    """

    def __init__(self, grid: Grid, moment: Moment | None):
        super().__init__(grid)
        self._moment = moment

    def get_node_ids(self) -> Iterable[int]:
        """Pass on."""
        return self._grid.get_node_ids()

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Yield the replies in the messages' order."""
        sent, moment = list(messages), self._moment
        if moment and _is_of(moment.round, sent):
            for message in sent:
                # Nobody reads it of a replay, and the kept one may be of other tensors.
                config_of(message.content)[DIVERGENCE] = False
            return map(moment.answer, sent)
        return iter(self._grid.send_and_receive(sent, timeout=timeout))


def _is_of(server_round: int, messages: Sequence[Message]) -> bool:
    return bool(messages) and read_round(config_of(messages[0].content)) == server_round
