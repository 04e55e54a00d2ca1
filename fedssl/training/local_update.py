"""The local update: one client trains the global model for one round."""

import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from fedssl.base.precision import choose_precision
from fedssl.base.seeding import generator
from fedssl.base.tracing import span
from fedssl.client_rules import ClientRound, ClientRule, Update
from fedssl.client_rules.rule_runner import (
    Metrics,
    RuleRunner,
    collect_outputs,
    select_rule_tensors,
)
from fedssl.model_state import (
    State,
    TensorRoles,
    clone,
    federated_state,
    private_tensors,
    rebind_tensors,
    split_state,
    tensor_roles,
    trainable_names,
)
from fedssl.model_state.check import first_not_finite
from fedssl.models.blueprint import ModelBlueprint
from fedssl.objectives import Batch
from fedssl.training.client_memory import ClientMemory
from fedssl.training.instructions import Instructions
from fedssl.training.optimizers import (
    build_optimizer,
    learning_rate,
    optimizer_state,
    restore_optimizer,
)
from fedssl.training.transmission import TransmissionPlan

_NO_INSTRUCTIONS = Instructions()
_OPTIMIZER = "optimizer "
"""Prefix of the optimiser's tensors in the private state; no tensor of a model has a space in its
name."""

_LAST_ROUND = "objective round"
"""Name of the last round in the private state, stored where `Objective.on_return` needs it."""


class UpdateCancelledError(RuntimeError):
    """A local update was cancelled before its last step; its result is discarded."""


@dataclass(frozen=True)
class TrainingStats:
    """Statistics of a client's local steps."""

    loss: float = 0.0
    """The mean loss over all examples of all batches."""
    chance_loss: float = 0.0
    """The mean loss, on the same batches, of an encoder that cannot tell examples apart."""
    steps: int = 0
    """The number of optimiser steps."""


@dataclass(frozen=True)
class LocalUpdate:
    """The result of a client's round."""

    state: State
    """All federated tensors after training; nothing writes to them any more."""
    private_state: State
    """All tensors that the client stores for its next round; they never leave it."""
    example_count: int
    """The number of the client's examples."""
    stats: TrainingStats
    """Statistics of the local steps."""
    seconds: float
    """Wall time of the update."""
    metrics: Metrics = field(default_factory=dict)
    """The metrics of the client rules, with keys such as ``sensitivity/omega``."""
    extra: State = field(default_factory=dict)
    """The extra tensors of the client rules, with keys such as ``scaffold/encoder.weight``."""


class LocalTrainer:
    """Trains many clients, one after the other, with one model that stays in memory.

    No client's tensors remain for the next client. For each client the model's tensors are rebound
    to a copy of the received and the private tensors, and the update returns these tensors: so a
    model is copied once for each client. The optimiser is reset or restored.

    Parameters
    ----------
    blueprint : ModelBlueprint
        The blueprint of the experiment's model.
    device : torch.device
        The device of the model and the examples.
    stop : threading.Event
        Cancels an update before its next step, if it is set; see `UpdateCancelledError`.
    """

    def __init__(
        self,
        blueprint: ModelBlueprint,
        device: torch.device,
        stop: threading.Event,
    ):
        self.blueprint = blueprint
        self.config = config = blueprint.config
        self.device = device
        self.stop = stop
        self.objective = blueprint.build().to(device)
        parameters = [p for p in self.objective.parameters() if p.requires_grad]
        self.optimizer = build_optimizer(parameters, config.client)
        self.precision = choose_precision(config.client.precision, device)
        self._initial_private = clone(private_tensors(self.objective))
        self.views = blueprint.views

    def run(
        self,
        examples: Tensor,
        labels: Tensor,
        received: Mapping[str, Tensor],
        private_state: Mapping[str, Tensor],
        *,
        client: int,
        server_round: int,
        instructions: Instructions = _NO_INSTRUCTIONS,
        extra: Mapping[str, Tensor] | None = None,
    ) -> LocalUpdate:
        """Train the received model on one client's examples.

        Parameters
        ----------
        examples : Tensor
            [n, …] as stored, on the trainer's device.
        labels : Tensor
            int64 [n], -1 for unlabelled examples.
        received : Mapping[str, Tensor]
            The transmitted tensors of the global model. They are copied and not written to.
        private_state : Mapping[str, Tensor]
            The tensors that this client stored after its last round; empty in its first.
        client, server_round : int
            The client's number, from 0, and the round's, from 1; random numbers derive from them.
        instructions : Instructions (default: none)
            The strategy's instructions, beside training.
        extra : Mapping[str, Tensor] | None (default: None)
            The strategy's extra tensors for the client rules.

        Raises
        ------
        ValueError
            The client has too few examples for the objective, the loss or a private tensor became
            infinite or NaN, a client rule cannot be applied, or what the client stored for one is
            of an older version.
        UpdateCancelledError
            ``stop`` was set.
        """
        started_at = time.perf_counter()
        if len(examples) < self.objective.minimum_batch:
            raise ValueError(
                f"client {client} has {len(examples)} example(s), but {self.config.objective.name} "
                f"needs at least {self.objective.minimum_batch}: raise partition.minimum"
            )
        torch.set_num_threads(self.config.client.threads)
        rules = instructions.build_rules()
        memory = _read_memory(private_state, rules)
        transmission, names = instructions.transmission, dict.fromkeys(received)
        round_start = self._round_start(transmission, received, memory)
        client_rounds = self._client_rounds(
            rules, round_start, names, memory, extra or {}, client=client, server_round=server_round
        )
        training_start = dict(round_start)
        resets = False
        for rule, client_round in zip(rules, client_rounds, strict=True):
            training_start |= rule.initial_tensors(client_round)
            resets = resets or rule.resets_private_state(client_round)
        private_state = {} if resets else private_state
        self._restore(
            training_start, private_state, len(examples), client=client, server_round=server_round
        )
        with RuleRunner(
            rules,
            client_rounds,
            self.objective,
            training_start,
            self._build_rule_optimizer,
            self._view_sampler(examples),
        ) as runner:
            stats = self._train(examples, labels, runner, client=client, server_round=server_round)
        state, new_private_state = split_state(self.objective)
        new_private_state |= self._optimizer_tensors() | self._last_round_tensor(server_round)
        updates = [Update(each, training_start, state, stats.steps) for each in client_rounds]
        metrics, extra_tensors, remembered = collect_outputs(rules, updates)
        local_tensors = {n: t for n, t in state.items() if n in transmission.stored_on_client}
        memory = ClientMemory(server_round, local_tensors, remembered)
        return LocalUpdate(
            state=state,
            private_state=new_private_state | memory.to_private_state(),
            example_count=len(examples),
            stats=stats,
            seconds=time.perf_counter() - started_at,
            metrics=metrics,
            extra=extra_tensors,
        )

    def _round_start(
        self,
        transmission: TransmissionPlan,
        received: Mapping[str, Tensor],
        memory: ClientMemory | None,
    ) -> State:
        """Return all federated tensors: the received ones, and the client's own.

        Its own are those that are absent from the message, or newer on the client.
        """
        state = dict(received)
        if transmission.local:
            local_tensors = memory.local_tensors if memory else self._initial_federated
            state |= {n: local_tensors[n] for n in transmission.local if n in local_tensors}
        if memory:
            local_tensors = memory.local_tensors
            newer = transmission.newer_on_client(local_tensors, memory.last_round)
            state |= {name: local_tensors[name] for name in newer}
        return state

    def _client_rounds(
        self,
        rules: Sequence[ClientRule],
        round_start: State,
        received_names: Collection[str],
        memory: ClientMemory | None,
        extra: Mapping[str, Tensor],
        *,
        client: int,
        server_round: int,
    ) -> list[ClientRound]:
        """Return the client's round as each rule knows it."""
        config = self.config.client
        client_rounds = []
        for rule in rules:
            rule.check(config, self.objective)
            name = rule.config.name
            client_rounds.append(
                ClientRound(
                    server_round=server_round,
                    round_start=round_start,
                    received_names=received_names,
                    trainable_names=self._trainable_names,
                    roles=self._roles,
                    memory=memory.rules.get(name, {}) if memory else {},
                    last_round=memory.last_round if memory else None,
                    extra=select_rule_tensors(name, extra),
                    momentum=config.momentum,
                    nesterov=config.nesterov,
                    lr=learning_rate(config, server_round, self.config.rounds),
                    seed=self.config.seed,
                    generator=generator(self.config.seed, f"rule {name}", server_round, client),
                )
            )
        return client_rounds

    def _build_rule_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        """Build an optimiser, with the client's settings, for the networks of client rules."""
        optimizer = build_optimizer(parameters, self.config.client)
        for group, model_group in zip(
            optimizer.param_groups, self.optimizer.param_groups, strict=True
        ):
            group["lr"] = model_group["lr"]
        return optimizer

    def _view_sampler(self, examples: Tensor) -> Callable[[torch.Generator], Tensor]:
        """Return a function that returns one view of each example in a new random batch."""
        size = min(len(examples), self.config.client.batch_size)

        def sample_view(generator: torch.Generator) -> Tensor:
            rows = torch.randperm(len(examples), generator=generator)[:size]
            # A rule calls it within a step, where autocast is on, and views are float32.
            with torch.autocast(self.device.type, enabled=False):
                view: Tensor = self.views(examples[rows.to(self.device)], generator, 1)
            return view

        return sample_view

    @cached_property
    def _roles(self) -> TensorRoles:
        return tensor_roles(self.objective)

    @cached_property
    def _trainable_names(self) -> dict[str, None]:
        return trainable_names(self.objective)

    @cached_property
    def _initial_federated(self) -> State:
        """The federated tensors of a newly built model."""
        return federated_state(self.blueprint.build().to(self.device))

    def _restore(
        self,
        training_start: Mapping[str, Tensor],
        private_state: Mapping[str, Tensor],
        example_count: int,
        *,
        client: int,
        server_round: int,
    ) -> None:
        """Load a client's tensors into the model and the optimiser."""
        objective = self.objective
        objective.resize(example_count)
        private = {n: t for n, t in private_state.items() if " " not in n}
        last_round = private_state.get(_LAST_ROUND)
        was_absent = last_round is not None and server_round > int(last_round) + 1
        if private and not (was_absent and objective.on_return == "resync"):
            rebind_tensors(objective, clone(training_start), clone(private))
        else:
            rebind_tensors(objective, clone(training_start), clone(self._new_private_state()))
            objective.start(generator(self.config.seed, "private state", server_round, client))
        optimizer_tensors = {
            name.removeprefix(_OPTIMIZER): tensor
            for name, tensor in private_state.items()
            if name.startswith(_OPTIMIZER)
        }
        restore_optimizer(self.optimizer, optimizer_tensors)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.client, server_round, self.config.rounds)

    def _new_private_state(self) -> State:
        """Return a new model's private state, which `Objective.start` sets where shapes differ."""
        return {
            name: new if (new := self._initial_private[name]).shape == current.shape else current
            for name, current in private_tensors(self.objective).items()
        }

    def _optimizer_tensors(self) -> State:
        if self.config.client.optimizer_state == "fresh":
            return {}
        state = optimizer_state(self.optimizer)
        return {_OPTIMIZER + name: value.clone() for name, value in state.items()}

    def _last_round_tensor(self, server_round: int) -> State:
        if self.objective.on_return != "resync":
            return {}
        return {_LAST_ROUND: torch.tensor(server_round)}

    def _train(
        self,
        examples: Tensor,
        labels: Tensor,
        rules: RuleRunner,
        *,
        client: int,
        server_round: int,
    ) -> TrainingStats:
        config = self.config.client
        view_generator = generator(self.config.seed, "views", server_round, client)
        objective_generator = generator(self.config.seed, "objective", server_round, client)
        batches = list(self._batches(len(examples), client=client, server_round=server_round))
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        chance_sum = 0.0
        self.objective.train()
        for step, rows in enumerate(batches):
            if self.stop.is_set():
                raise UpdateCancelledError(f"client {client} was stopped in round {server_round}")
            rows = rows.to(self.device)
            chance_sum += len(rows) * self.objective.chance_loss(len(rows))
            with span("views"):
                chosen = examples[rows]
                view_numbers = range(1, self.objective.views_in_all + 1)
                views = [self.views(chosen, view_generator, number) for number in view_numbers]
            with span("step"):
                # Weights, and so all that a client sends, stay float32: Flower has no bfloat16.
                with torch.autocast(
                    self.device.type, torch.bfloat16, enabled=self.precision == "bf16"
                ):
                    progress = (server_round - 1 + step / len(batches)) / self.config.rounds
                    batch = Batch(views, rows, labels[rows], objective_generator, progress)
                    loss = self.objective.loss(batch)
                    total_loss = rules.total_loss(loss, batch)
                self.optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(total_loss)
                if config.clip_norm is not None:
                    clip_grad_norm_(self.objective.parameters(), config.clip_norm)
                self.optimizer.step()
                round_progress = (step + 1) / len(batches)
                self.objective.after_step((server_round - 1 + round_progress) / self.config.rounds)
                rules.after_step()
            loss_sum += loss.detach() * len(rows)
        processed = sum(map(len, batches))
        mean_loss = loss_sum.item() / processed
        if not math.isfinite(mean_loss):
            problem = f"loss became {mean_loss}"
        # Only private tensors: the server checks the others.
        elif bad_tensor := first_not_finite(private_tensors(self.objective)):
            problem = f"private state became infinite or NaN, in {bad_tensor} first,"
        else:
            return TrainingStats(mean_loss, chance_sum / processed, len(batches))
        raise ValueError(
            f"client {client}'s {problem} in round {server_round}: try a lower client.lr (now "
            f"{config.lr}) or set client.clip_norm"
        )

    def _batches(self, count: int, *, client: int, server_round: int) -> Iterator[Tensor]:
        """Yield the rows of each step: shuffled epochs without too small last batches."""
        config = self.config.client
        shuffle_generator = generator(self.config.seed, "batches", server_round, client)
        smallest = self.objective.minimum_batch
        per_epoch = sum(
            min(config.batch_size, count - start) >= smallest
            for start in range(0, count, config.batch_size)
        )
        steps = config.local_steps or (config.local_epochs or 1) * per_epoch
        while steps > 0:
            for rows in torch.split(
                torch.randperm(count, generator=shuffle_generator), config.batch_size
            ):
                if len(rows) >= smallest and steps > 0:
                    steps -= 1
                    yield rows


def _read_memory(
    private_state: Mapping[str, Tensor], rules: Sequence[ClientRule]
) -> ClientMemory | None:
    """Return a client's memory; a ValueError says that rules cannot read an old format."""
    if rules and ClientMemory.has_old_format(private_state):
        raise ValueError(
            f"what this client stored for {rules[0].config.name} was written by an older version "
            "of fedssl: start a new run, or resume this one with that version"
        )
    return ClientMemory.from_private_state(private_state)
