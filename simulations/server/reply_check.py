"""The server's check of each reply, before any strategy sees it."""

import math
from collections.abc import Callable, Mapping

from flwr.app import Message
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from clients.flower_adapter.error_replies import LOST, REFUSED, error_reply
from fedssl.base.printable import printable
from fedssl.model_state import State, TensorRoles
from simulations.record.client_result import ClientResult
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
    """Checks replies: one that cannot be used is replaced by an error.

    Parameters
    ----------
    strategy : Strategy
        The strategy whose messages the clients reply to.
    config : StrategyConfig
        The strategy's config, of which ``max_update_norm`` and ``on_exceed`` are used.
    parts : TensorRoles
        The roles of the model's tensors.
    size_of : Callable[[int], int]
        Returns the number of examples of a client.
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
        self.computes_norms = config.max_update_norm is not None
        """Whether the norm of each update is computed."""

    def __call__(
        self, client: int, message: Message, reply: Message
    ) -> tuple[Message, ClientResult]:
        """Check a client's reply; return the reply, or an error in its place, and the result."""
        if reply.has_error():
            code, reason = reply.error.code, printable(reply.error.reason or "no reason given")
            return error_reply(message, reason, code), ClientResult(
                client,
                error=reason,
                refused=code == REFUSED,
                lost=code in LOST,
            )
        try:
            expected = expected_reply(
                message.content, self._strategy, self._parts, self._size_of(client)
            )
            state, summary = read_reply(reply.content, expected)
            checked, norm, clipped = self._limit_norm(state, expected.tensors)
            if norm is not None:
                # With extra tensors there is no limit, so this norm only serves to find outliers.
                norm = math.hypot(norm, *map(length, summary.extra.values()))
        # Whatever a reply makes our code or a library raise, the reply is at fault.
        except Exception as error:
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            reason = printable(f"its reply was refused: {kind}{error}")
            refusal = error_reply(message, reason, REFUSED)
            return refusal, ClientResult(client, error=reason, refused=True)
        arrays = arrays_of(reply.content)
        result = _result_of(client, summary, content_bytes(reply.content), norm, clipped)
        # Decoded once for all later readers, without a copy.
        if clipped or not all(isinstance(array, TensorArray) for array in arrays.values()):
            reply.content[ARRAYS] = to_record(checked)
        if summary.extra:
            reply.content[EXTRA] = to_record(summary.extra)
        return reply, result

    def _limit_norm(
        self, state: State, broadcast: Mapping[str, Tensor]
    ) -> tuple[State, float | None, bool]:
        """Return the model within the norm limit, its update's norm, and whether it was clipped."""
        if not self.computes_norms:
            return state, None, False
        norm, limit = update_norm(state, broadcast), self._config.max_update_norm
        if limit is None or norm <= limit:
            return state, norm, False
        if self._config.on_exceed == "refuse":
            raise ValueError(
                f"its update's norm is {norm:.6g}, more than strategy.max_update_norm = {limit:g}"
            )
        return clip(state, broadcast, limit / norm), norm, True


def _result_of(
    client: int, summary: UpdateSummary, bytes_up: int, norm: float | None, clipped: bool
) -> ClientResult:
    divergence = summary.metrics.get(DIVERGENCE, ())
    seconds = summary.metrics.get("seconds", 0.0)
    assert isinstance(divergence, (list, tuple))
    assert isinstance(seconds, (int, float))
    return ClientResult(
        client,
        examples=summary.examples,
        loss=summary.loss,
        seconds=float(seconds),
        divergence=tuple(divergence),
        bytes_up=bytes_up,
        norm=norm,
        clipped=clipped,
    )
