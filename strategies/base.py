"""The base of our Flower strategies: all nodes take part; replies are merged as they arrive."""

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
from strategies.fold import Fold, UpdateSummary
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
    """A strategy with state from round to round, such as momentum; checkpoints hold it.

    The global model is not part of the state: each round brings it.

    Examples
    --------
    >>> from strategies import FedAvg, FedAvgM
    >>> isinstance(FedAvgM(), Stateful), isinstance(FedAvg(), Stateful)
    (True, False)
    """

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state, by name."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a state that ``state_dict`` returned."""


NO_PARTS = TensorRoles()

ROUND_ATTRIBUTES = ("_broadcast_model", "_expected_tensors")
"""The attributes of a `FoldingStrategy` that each round sets again."""


class FoldingStrategy(Strategy):
    """A strategy that merges one reply at a time, so that memory does not grow with the cohort.

    Every node that the Grid lists takes part, in the order listed. Nothing is evaluated on clients.

    Parameters
    ----------
    config : StrategyConfig | None (default: None)
        An instance of this class's ``Config``; None for its defaults.
    parts : TensorRoles
        The roles of the model's tensors by name; by default those of a model without BatchNorm.

    Examples
    --------
    >>> import torch
    >>> from strategies.fold import ExampleMean, merge
    >>> class Mine(FoldingStrategy):
    ...     def start_fold(self, server_round, global_state):
    ...         return ExampleMean(global_state)
    >>> sent, first, second = ({"w": torch.tensor([value])} for value in (0.0, 0.0, 4.0))
    >>> merge(Mine().start_fold(1, sent), [first, second], map(UpdateSummary, [1, 3]))
    {'w': tensor([3.])}
    """

    Config: ClassVar[type[StrategyConfig]] = StrategyConfig
    config: StrategyConfig
    minimum_clients: int = 1
    """The smallest number of clients whose models it can merge."""
    required_metrics: frozenset[str] = frozenset()
    """The metrics that every reply must have, besides ``num-examples`` and those of rules."""
    requires_server_examples: bool = False
    """Whether `after_fold` needs unlabelled examples on the server."""
    population: int = 0
    """The number of clients that could be drawn for this round; 0 if unknown."""
    server_examples: ServerExamples | None = None
    """The server's examples, which `after_fold` gets; None if there are none."""

    def __init__(self, config: StrategyConfig | None = None, parts: TensorRoles = NO_PARTS):
        self.config = self.Config() if config is None else config
        self.parts = parts
        self._broadcast_model: dict[str, Tensor] | None = None
        self._expected_tensors: dict[str, Tensor] = {}

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        """Return the client rules that this strategy runs on clients in a round; often none."""
        return ()

    def plan(self, server_round: int, global_state: Mapping[str, Tensor]) -> TransmissionPlan:
        """Return which transmitted tensors are sent back in a round; by default all of them."""
        return TransmissionPlan()

    def extra(self, server_round: int, global_state: Mapping[str, Tensor]) -> State:
        """Return the extra tensors that client rules get with the model; by default none.

        Keys are ``rule/tensor``, for example ``scaffold/encoder.weight``. ``global_state`` holds
        the tensors that are sent.
        """
        return {}

    def stays_local(self, name: str) -> bool:
        """Tell whether a tensor always stays on the clients; by default none does."""
        return False

    def after_fold(self, step: ServerStep) -> State:
        """Return the new global model: the merged one, or what a server step makes of it.

        State from round to round belongs in ``state_dict`` (see `Stateful`). Random numbers must
        come from the server's examples or from a generator of `fedssl.base.seeding`.
        """
        return dict(step.merged)

    @abstractmethod
    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return the fold that merges a round's replies.

        ``global_state`` holds the tensors of the model sent that clients send back.
        """

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Return one message for each node: the model to train, and its config record."""
        self._broadcast_model = to_state(arrays)
        instructions = build_instructions(self, server_round, self._broadcast_model)
        shared = shared_state(self, self._broadcast_model)
        if instructions.transmission.local:
            arrays = to_record(shared)
        withheld = instructions.transmission.absent_from_reply
        self._expected_tensors = {
            n: t for n, t in self._broadcast_model.items() if n not in withheld
        }
        extra = self.extra(server_round, shared)
        # One record for all messages, so that a model is serialised only once.
        extra_records = {EXTRA: to_record(extra)} if extra else {}
        instruction_config = instructions.to_config()
        messages = []
        for node in grid.get_node_ids():
            node_config = ConfigRecord(
                {**config, **instruction_config, "server-round": server_round}
            )
            content = RecordDict({ARRAYS: arrays, **extra_records, CONFIG: node_config})
            messages.append(Message(content, node, MessageType.TRAIN))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Merge the replies as they arrive; those that carry an error are left out.

        Returns
        -------
        tuple[ArrayRecord | None, MetricRecord | None]
            The new global model (tensors that did not come back keep their values), and the
            metrics ``train-loss`` (the mean by examples over clients that report it) and
            ``num-examples`` (the sum); ``(None, None)`` if every client failed.

        Raises
        ------
        ValueError
            A reply lacks a record or metric, or its model has other tensors than the global one.
        RuntimeError
            No round was configured before.
        """
        if self._broadcast_model is None:
            raise RuntimeError("aggregate_train was called before configure_train")
        fold = self.start_fold(server_round, self._expected_tensors)
        client_count, example_count, examples_with_loss, loss_sum = 0, 0, 0, 0.0
        for reply in replies:
            node = reply.metadata.src_node_id
            if reply.has_error():
                log(WARNING, "round %d: node %d failed: %s", server_round, node, reply.error.reason)
                continue
            try:
                state, summary = _read(reply.content)
                fold.add(state, summary)
            except ValueError as error:
                raise ValueError(f"the reply of node {node}: {error}") from error
            client_count, example_count = client_count + 1, example_count + summary.examples
            if not math.isnan(summary.loss):
                examples_with_loss += summary.examples
                loss_sum += summary.examples * summary.loss
            # So that this model's memory is free before the next one arrives.
            del reply, state
        if client_count == 0:
            return None, None
        merged = {**self._broadcast_model, **fold.result()}
        step = ServerStep(server_round, self._broadcast_model, merged, self.server_examples)
        arrays = to_record(self.after_fold(step))
        mean_loss = loss_sum / examples_with_loss if examples_with_loss else math.nan
        return arrays, MetricRecord({"num-examples": example_count, "train-loss": mean_loss})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Return no messages: clients do not evaluate."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> None:
        """Return nothing: clients do not evaluate."""

    def summary(self) -> None:
        """Log what the strategy does."""
        log(INFO, "\t└──> %s", self)


def shared_state(strategy: Strategy, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a model that a strategy sends to clients."""
    if not isinstance(strategy, FoldingStrategy):
        return dict(state)
    return {name: tensor for name, tensor in state.items() if not strategy.stays_local(name)}


def build_extra(strategy: Strategy, server_round: int, state: Mapping[str, Tensor]) -> State:
    """Return a strategy's extra tensors for client rules; ``state`` is the global model."""
    if not isinstance(strategy, FoldingStrategy):
        return {}
    return strategy.extra(server_round, shared_state(strategy, state))


def build_instructions(
    strategy: Strategy, server_round: int, state: Mapping[str, Tensor]
) -> Instructions:
    """Return a strategy's instructions to clients for a round, with the tensors that stay local.

    ``state`` is the global model.
    """
    if not isinstance(strategy, FoldingStrategy):
        return Instructions()
    shared = shared_state(strategy, state)
    local = tuple(name for name in state if name not in shared)
    plan = strategy.plan(server_round, shared).model_copy(update={"local": local})
    return Instructions(plan, strategy.rules(server_round))


def _read(content: RecordDict) -> tuple[dict[str, Tensor], UpdateSummary]:
    arrays, metrics = arrays_of(content), metrics_of(content)
    examples, loss = metrics.get("num-examples"), metrics.get("train-loss", math.nan)
    if not isinstance(examples, int):
        raise ValueError(f"its metric num-examples must be an int, not {examples!r}")
    if not isinstance(loss, (int, float)):
        raise ValueError(f"its metric train-loss must be a float, not {loss!r}")
    return to_state(arrays), UpdateSummary(
        examples, loss, dict(metrics), to_state(extra_of(content))
    )
