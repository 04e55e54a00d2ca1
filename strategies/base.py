"""What our Flower strategies share: who takes part, and replies that are folded as they come."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from logging import INFO, WARNING
from typing import Protocol, runtime_checkable

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.common import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from fedssl.asked import Asked
from strategies.fold import Fold, Report
from strategies.messages import ARRAYS, CONFIG, arrays_of, metrics_of, to_record, to_state


@runtime_checkable
class Stateful(Protocol):
    """What a strategy offers if it keeps something from round to round, such as momentum.

    A checkpoint then holds it. The global model is not part of it: each round brings it.
    """

    def state_dict(self) -> dict[str, Tensor]:
        """Return what is kept, by name."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state_dict`` returned."""


OF_A_ROUND = ("_global", "_awaited")
"""The fields of a `FoldingStrategy` that the start of each round replaces."""


class FoldingStrategy(Strategy):
    """A strategy that merges one reply at a time, so that memory does not grow with the cohort.

    Every node that the Grid lists takes part, in the order listed. Nothing is evaluated on clients.
    """

    minimum_clients: int = 1
    """The fewest clients whose models it can merge."""
    needs: frozenset[str] = frozenset()
    """The metrics that it needs of every reply, beside ``num-examples`` and what it asks for."""

    def __init__(self) -> None:
        self._global: dict[str, Tensor] | None = None
        self._awaited: dict[str, Tensor] = {}

    def asks(self, server_round: int, global_state: Mapping[str, Tensor]) -> Asked:
        """Return what clients are asked for beside training; nothing, unless overridden."""
        return Asked()

    def stays_local(self, name: str) -> bool:
        """Tell whether a tensor never travels; none does, unless overridden."""
        return False

    @abstractmethod
    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return the fold of a round, which starts from the model that was sent out.

        ``global_state`` holds those of its tensors that clients send back.
        """

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Return a message to every node: the shared model, and a config of its own."""
        self._global = to_state(arrays)
        asked = asked_of(self, server_round, self._global)
        if asked.local:
            arrays = to_record(shared_state(self, self._global))
        self._awaited = {n: t for n, t in self._global.items() if n not in asked.withholds}
        messages = []
        for node in grid.get_node_ids():
            own = ConfigRecord({**config, **asked.to_config(), "server-round": server_round})
            content = RecordDict({ARRAYS: arrays, CONFIG: own})
            messages.append(Message(content, node, MessageType.TRAIN))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Merge the replies as they come; those that carry an error are left out.

        Returns
        -------
        tuple[ArrayRecord | None, MetricRecord | None]
            The merged model, where what did not come back is as it was, and of the clients'
            metrics ``train-loss`` (the mean by examples, of those that tell it) and
            ``num-examples`` (the sum); two None where every client failed.

        Raises
        ------
        ValueError
            A reply lacks something, or its model has other tensors than the global one.
        RuntimeError
            No round was configured before.
        """
        if self._global is None:
            raise RuntimeError("aggregate_train was called before configure_train")
        fold = self.start_fold(server_round, self._awaited)
        clients, total, told, loss = 0, 0, 0, 0.0
        for reply in replies:
            node = reply.metadata.src_node_id
            if reply.has_error():
                log(WARNING, "round %d: node %d failed: %s", server_round, node, reply.error.reason)
                continue
            try:
                state, report = _read(reply.content)
                fold.add(state, report)
            except ValueError as error:
                raise ValueError(f"the reply of node {node}: {error}") from error
            clients, total = clients + 1, total + report.examples
            if not math.isnan(report.loss):
                told, loss = told + report.examples, loss + report.examples * report.loss
            # So that this model's memory is free before the next one comes.
            del reply, state
        if clients == 0:
            return None, None
        arrays = to_record({**self._global, **fold.result()})
        mean = loss / told if told else math.nan
        return arrays, MetricRecord({"num-examples": total, "train-loss": mean})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Ask nothing: clients do not evaluate."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> None:
        """Return nothing: clients do not evaluate."""

    def summary(self) -> None:
        """Log what the strategy does."""
        log(INFO, "\t└──> %s", self)


def shared_state(strategy: Strategy, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return those tensors of a model that a strategy sends to clients."""
    if not isinstance(strategy, FoldingStrategy):
        return dict(state)
    return {name: tensor for name, tensor in state.items() if not strategy.stays_local(name)}


def asked_of(strategy: Strategy, server_round: int, state: Mapping[str, Tensor]) -> Asked:
    """Return what one of our strategies asks of its clients in a round, what stays local included.

    ``state`` is the global model.
    """
    if not isinstance(strategy, FoldingStrategy):
        return Asked()
    shared = shared_state(strategy, state)
    local = tuple(name for name in state if name not in shared)
    return strategy.asks(server_round, shared).model_copy(update={"local": local})


def _read(content: RecordDict) -> tuple[dict[str, Tensor], Report]:
    arrays, metrics = arrays_of(content), metrics_of(content)
    examples, loss = metrics.get("num-examples"), metrics.get("train-loss", math.nan)
    if not isinstance(examples, int):
        raise ValueError(f"its metric num-examples is {examples!r} in place of an int")
    if not isinstance(loss, (int, float)):
        raise ValueError(f"its metric train-loss is {loss!r} in place of a float")
    return to_state(arrays), Report(examples, loss, dict(metrics))
