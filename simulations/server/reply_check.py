"""The one check that every client's reply passes in the server, before any strategy sees it."""

import math
from collections.abc import Callable, Mapping

from flwr.app import Message
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from clients.flower_adapter.error_replies import LOST, REFUSED, error_reply
from fedssl.base.printable import printable
from fedssl.model_state import State, TensorRoles
from simulations.record.answer import Answer
from strategies.config import StrategyConfig
from strategies.fold import UpdateSummary
from strategies.messages import (
    ARRAYS,
    DIVERGENCE,
    EXTRA,
    TensorArray,
    arrays_of,
    content_bytes,
    to_record,
)
from strategies.reply import expected_reply, read_reply
from strategies.update_norm import clip, length, update_norm


class ReplyCheck:
    """Turns a reply into what the strategy may see; one that cannot be used becomes an error.

    Parameters
    ----------
    strategy : Strategy
        Whose messages are replied to.
    config : StrategyConfig
        Its ``max_update_norm`` and ``on_exceed``.
    parts : TensorRoles
        What the names of the model's tensors mean.
    size_of : Callable[[int], int]
        How many examples a client has.
    """

    def __init__(
        self,
        strategy: Strategy,
        config: StrategyConfig,
        parts: TensorRoles,
        size_of: Callable[[int], int],
    ):
        self._strategy = strategy
        self._config = config
        self._parts = parts
        self._size_of = size_of
        self.measures = config.max_update_norm is not None
        """Whether the length of each update is measured."""

    def __call__(self, client: int, message: Message, reply: Message) -> tuple[Message, Answer]:
        """Check a client's reply to a message; return it, or an error in its place."""
        if reply.has_error():
            code, reason = reply.error.code, printable(reply.error.reason or "no reason given")
            return error_reply(message, reason, code), Answer(
                client,
                error=reason,
                refused=code == REFUSED,
                lost=code in LOST,
            )
        try:
            expected = expected_reply(
                message.content, self._strategy, self._parts, self._size_of(client)
            )
            state, report = read_reply(reply.content, expected)
            checked, norm, clipped = self._bounded(state, expected.tensors)
            if norm is not None:
                # There is no limit where clients send more than a model: this finds outliers.
                norm = math.hypot(norm, *map(length, report.extra.values()))
        # Whatever a reply makes our code or a library raise, the reply is at fault.
        except Exception as error:
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            reason = printable(f"its reply was refused: {kind}{error}")
            refusal = error_reply(message, reason, REFUSED)
            return refusal, Answer(client, error=reason, refused=True)
        arrays = arrays_of(reply.content)
        answer = _answer(client, report, content_bytes(reply.content), norm, clipped)
        # By reference, and decoded once for all who look at it.
        if clipped or not all(isinstance(array, TensorArray) for array in arrays.values()):
            reply.content[ARRAYS] = to_record(checked)
        if report.extra:
            reply.content[EXTRA] = to_record(report.extra)
        return reply, answer

    def _bounded(
        self, state: State, sent: Mapping[str, Tensor]
    ) -> tuple[State, float | None, bool]:
        """Return the model within the limit, the norm of its update, and whether it was clipped."""
        if not self.measures:
            return state, None, False
        norm, limit = update_norm(state, sent), self._config.max_update_norm
        if limit is None or norm <= limit:
            return state, norm, False
        if self._config.on_exceed == "refuse":
            raise ValueError(
                f"its update's norm is {norm:.6g}, more than strategy.max_update_norm = {limit:g}"
            )
        return clip(state, sent, limit / norm), norm, True


def _answer(
    client: int, report: UpdateSummary, bytes_up: int, norm: float | None, clipped: bool
) -> Answer:
    divergence = report.metrics.get(DIVERGENCE, ())
    seconds = report.metrics.get("seconds", 0.0)
    assert isinstance(divergence, (list, tuple))
    assert isinstance(seconds, (int, float))
    return Answer(
        client,
        examples=report.examples,
        loss=report.loss,
        seconds=float(seconds),
        divergence=tuple(divergence),
        bytes_up=bytes_up,
        norm=norm,
        clipped=clipped,
    )
