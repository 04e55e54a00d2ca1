"""What our Flower strategies share: who takes part, and replies that are folded as they come."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from logging import INFO, WARNING
from typing import ClassVar, Protocol, runtime_checkable

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.common import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from fedssl.client_rules import ClientRuleConfig
from fedssl.model_state import State, TensorRoles
from fedssl.training.instructions import Instructions
from fedssl.training.transmission import TransmissionPlan
from strategies.config import StrategyConfig
from strategies.fold import Fold, Report
from strategies.messages import (
    ARRAYS,
    CONFIG,
    EXTRA,
    arrays_of,
    extra_of,
    metrics_of,
    to_record,
    to_state,
)
from strategies.server_step import ServerExamples, ServerStep


@runtime_checkable
class Stateful(Protocol):
    """What a strategy offers if it keeps something from round to round, such as momentum.

    A checkpoint then holds it. The global model is not part of it: each round brings it.
    """

    def state_dict(self) -> dict[str, Tensor]:
        """Return what is kept, by name."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state_dict`` returned."""


NO_PARTS = TensorRoles()

OF_A_ROUND = ("_global", "_awaited")
"""The fields of a `FoldingStrategy` that the start of each round replaces."""


class FoldingStrategy(Strategy):
    """A strategy that merges one reply at a time, so that memory does not grow with the cohort.

    Every node that the Grid lists takes part, in the order listed. Nothing is evaluated on clients.

    Parameters
    ----------
    config : StrategyConfig | None (default: None)
        An instance of this class's ``Config``; None for its defaults.
    parts : TensorRoles
        What the names of the model's tensors mean; by default of a model without BatchNorm.
    """

    Config: ClassVar[type[StrategyConfig]] = StrategyConfig
    config: StrategyConfig
    minimum_clients: int = 1
    """The fewest clients whose models it can merge."""
    needs: frozenset[str] = frozenset()
    """The metrics that it needs of every reply, beside ``num-examples`` and what rules report."""
    needs_examples: bool = False
    """Whether `after_fold` needs examples of the server's, without labels."""
    population: int = 0
    """How many clients there are in all, in the round under way; 0 where nobody says."""
    server_examples: ServerExamples | None = None
    """Those that `after_fold` gets."""

    def __init__(self, config: StrategyConfig | None = None, parts: TensorRoles = NO_PARTS):
        self.config = self.Config() if config is None else config
        self.parts = parts
        self._global: dict[str, Tensor] | None = None
        self._awaited: dict[str, Tensor] = {}

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        """Return the client rules of a round: the strategy's client half; none for most."""
        return ()

    def plan(self, server_round: int, global_state: Mapping[str, Tensor]) -> TransmissionPlan:
        """Return which of the shared tensors travel in a round; all of them for most."""
        return TransmissionPlan()

    def extra(self, server_round: int, global_state: Mapping[str, Tensor]) -> State:
        """Return what is sent to every client beside the model, for its rules; nothing for most.

        Each name has that of the rule before it: ``scaffold/encoder.weight``. ``global_state``
        holds the tensors that are sent.
        """
        return {}

    def stays_local(self, name: str) -> bool:
        """Tell whether a tensor never travels; none does, unless overridden."""
        return False

    def after_fold(self, step: ServerStep) -> State:
        """Return the new global model: what was merged, unless the server goes on from there.

        What it keeps from round to round belongs into ``state_dict`` (see `Stateful`), and what it
        draws comes from the server's examples, or from a generator of `fedssl.base.seeding`.
        """
        return dict(step.merged)

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
        instructions = instructions_of(self, server_round, self._global)
        shared = shared_state(self, self._global)
        if instructions.transmission.local:
            arrays = to_record(shared)
        withheld = instructions.transmission.absent_from_reply
        self._awaited = {n: t for n, t in self._global.items() if n not in withheld}
        extra = self.extra(server_round, shared)
        # One record for all messages, so that a model is made ready to be sent but once.
        beside = {EXTRA: to_record(extra)} if extra else {}
        said = instructions.to_config()
        messages = []
        for node in grid.get_node_ids():
            own = ConfigRecord({**config, **said, "server-round": server_round})
            content = RecordDict({ARRAYS: arrays, **beside, CONFIG: own})
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
        merged = {**self._global, **fold.result()}
        step = ServerStep(server_round, self._global, merged, self.server_examples)
        arrays = to_record(self.after_fold(step))
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


def extra_of_strategy(strategy: Strategy, server_round: int, state: Mapping[str, Tensor]) -> State:
    """Return what a strategy sends its clients beside the model; ``state`` is the global one."""
    if not isinstance(strategy, FoldingStrategy):
        return {}
    return strategy.extra(server_round, shared_state(strategy, state))


def instructions_of(
    strategy: Strategy, server_round: int, state: Mapping[str, Tensor]
) -> Instructions:
    """Return what one of our strategies has its clients do in a round, what stays local included.

    ``state`` is the global model.
    """
    if not isinstance(strategy, FoldingStrategy):
        return Instructions()
    shared = shared_state(strategy, state)
    local = tuple(name for name in state if name not in shared)
    plan = strategy.plan(server_round, shared).model_copy(update={"local": local})
    return Instructions(plan, strategy.rules(server_round))


def _read(content: RecordDict) -> tuple[dict[str, Tensor], Report]:
    arrays, metrics = arrays_of(content), metrics_of(content)
    examples, loss = metrics.get("num-examples"), metrics.get("train-loss", math.nan)
    if not isinstance(examples, int):
        raise ValueError(f"its metric num-examples is {examples!r} in place of an int")
    if not isinstance(loss, (int, float)):
        raise ValueError(f"its metric train-loss is {loss!r} in place of a float")
    return to_state(arrays), Report(examples, loss, dict(metrics), to_state(extra_of(content)))
