"""Two Flower Grids: one records a round's replies, the other replies with recorded ones."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from flwr.app import Message
from flwr.serverapp import Grid

from clients.client_app import read_round
from fedssl.client_rules import ClientRuleConfig
from fedssl.training.instructions import RULES, rules_to_json
from simulations.engines.grid_proxy import WrappedGrid
from simulations.engines.node_id import client_of
from simulations.replaying.kept_round import KeptRound
from strategies.messages import DIVERGENCE, config_of, read_instructions


class RecordingGrid(WrappedGrid):
    """Passes all messages and replies on, and records the replies of one round.

    Parameters
    ----------
    grid : Grid
        The engine's Grid.
    server_round : int
        The round to record.
    record : Callable[[int, Message], None]
        Called with client and reply, in cohort order.
    metric_rules : tuple[ClientRuleConfig, ...]
        Rules that only measure, which the clients of this round run in addition.
    """

    def __init__(
        self,
        grid: Grid,
        server_round: int,
        record: Callable[[int, Message], None],
        metric_rules: tuple[ClientRuleConfig, ...],
    ):
        super().__init__(grid)
        self._round = server_round
        self._record = record
        self._metric_rules = metric_rules

    def get_node_ids(self) -> Iterable[int]:
        """Return the engine's node ids."""
        return self._grid.get_node_ids()

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Yield the replies in the messages' order."""
        sent = list(messages)
        is_recorded = _is_of(self._round, sent)
        for message in sent if is_recorded and self._metric_rules else ():
            rules = read_instructions(config_of(message.content)).rules
            more = tuple(rule for rule in self._metric_rules if rule not in rules)
            config_of(message.content)[RULES] = rules_to_json((*rules, *more))
        replies = self._grid.send_and_receive(sent, timeout=timeout)
        for message, reply in zip(sent, replies, strict=True):
            if is_recorded:
                self._record(client_of(message), reply)
            yield reply


class ReplayingGrid(WrappedGrid):
    """Answers the messages of one round with recorded replies; all others go to the engine.

    Parameters
    ----------
    grid : Grid
        The engine's Grid.
    kept_round : KeptRound | None
        The recorded round; None if all messages go to the engine.
    """

    def __init__(self, grid: Grid, kept_round: KeptRound | None):
        super().__init__(grid)
        self._kept_round = kept_round

    def get_node_ids(self) -> Iterable[int]:
        """Return the engine's node ids."""
        return self._grid.get_node_ids()

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Yield the replies in the messages' order."""
        sent, kept_round = list(messages), self._kept_round
        if kept_round and _is_of(kept_round.round, sent):
            for message in sent:
                # A replay does not use it, and the recorded one may be of other tensors.
                config_of(message.content)[DIVERGENCE] = False
            return map(kept_round.answer, sent)
        return iter(self._grid.send_and_receive(sent, timeout=timeout))


def _is_of(server_round: int, messages: Sequence[Message]) -> bool:
    return bool(messages) and read_round(config_of(messages[0].content)) == server_round
