"""The local update: what one client does with the global model in one round."""

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
from fedssl.client_rules import ClientRule, Update, Visit
from fedssl.client_rules.running import Metrics, RunningRules, of_rule, outcome
from fedssl.model_state import (
    ModelParts,
    State,
    adopt,
    clone,
    federated_state,
    model_parts,
    private_state,
    split_state,
    trained_names,
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
from fedssl.training.travel import TravelPlan

_NOTHING = Instructions()
_OPTIMIZER = "optimizer "
"""Prefix of the optimiser's tensors in the private state: no tensor of a model has a space."""

_LAST_ROUND = "objective round"
"""Name of the round that a private state is from, kept where `Objective.on_return` asks for it."""


class Stopped(RuntimeError):
    """A local update was told to end before its last step; nothing of it is kept."""


@dataclass(frozen=True)
class Trained:
    """What a client's local steps gave, beside the model."""

    loss: float = 0.0
    """The mean loss over all examples seen."""
    chance_loss: float = 0.0
    """What it would be of an encoder that tells nothing apart, at the same batches."""
    steps: int = 0
    """How many optimiser steps there were."""


@dataclass(frozen=True)
class LocalUpdate:
    """What a client's round gives."""

    state: State
    """The federated tensors after it, which nobody writes to any more."""
    private: State
    """What the client keeps for its next round; empty where the objective keeps nothing."""
    examples: int
    """How many examples the client has."""
    trained: Trained
    """Of the local steps."""
    seconds: float
    """Wall time."""
    metrics: Metrics = field(default_factory=dict)
    """What the client rules report, each name with the rule's before it."""
    extra: State = field(default_factory=dict)
    """What they send beside the model, likewise."""


class Worker:
    """One resident model that runs the local updates of many clients in turn.

    Nothing of a client is left for the next: the model takes a copy of the global tensors and of
    the client's private ones as its own, trains in it, and lets it go with the answer, so that a
    model is copied once a client; the optimiser starts anew.

    Parameters
    ----------
    blueprint : ModelBlueprint
        Of the experiment's model.
    device : torch.device
        Where the model lives and the examples are.
    stop : threading.Event
        Once set, the update under way ends by raising `Stopped` before its next step.
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
        self._new_private = clone(private_state(self.objective))
        self.views = blueprint.views

    def run(
        self,
        examples: Tensor,
        labels: Tensor,
        received: Mapping[str, Tensor],
        private: Mapping[str, Tensor],
        *,
        client: int,
        round: int,
        instructions: Instructions = _NOTHING,
        extra: Mapping[str, Tensor] | None = None,
    ) -> LocalUpdate:
        """Train the received model on one client's examples.

        Parameters
        ----------
        examples : Tensor
            [n, …] as stored, on the worker's device.
        labels : Tensor
            int64 [n], -1 where unlabelled.
        received : Mapping[str, Tensor]
            The global model, without what is local to clients; it is copied, never written to.
        private : Mapping[str, Tensor]
            What this client's last round left; empty on its first.
        client, round : int
            The client's number from 0, and the round's from 1: they choose the random numbers.
        instructions : Instructions (default: none)
            What the strategy has the client do, beside training.
        extra : Mapping[str, Tensor] | None (default: None)
            What it sent beside the model, for the rules.

        Raises
        ------
        ValueError
            The client has too few examples for the objective, the loss became infinite or NaN, or
            a rule cannot be followed.
        """
        begin = time.perf_counter()
        if len(examples) < self.objective.minimum_batch:
            raise ValueError(
                f"client {client} has {len(examples)} example(s), but {self.config.objective.name} "
                f"needs at least {self.objective.minimum_batch}: raise partition.minimum"
            )
        torch.set_num_threads(self.config.client.threads)
        rules = instructions.build_rules()
        memory = _recall(private, rules)
        plan, draws_views = instructions.plan, self._views_of(examples)
        whole = self._received(plan, received, memory)
        sent = dict.fromkeys(received)
        visits = self._visits(rules, whole, sent, memory, extra or {}, client=client, round=round)
        start = dict(whole)
        anew = False
        for rule, visit in zip(rules, visits, strict=True):
            start |= rule.start(visit)
            anew = anew or rule.starts_anew(visit)
        self._restore(start, {} if anew else private, len(examples), client=client, round=round)
        with RunningRules(
            rules, visits, self.objective, start, self._optimizer_of, draws_views
        ) as running:
            trained = self._train(examples, labels, running, client=client, round=round)
        state, kept = split_state(self.objective)
        kept |= self._optimizer_to_keep() | self._round_to_keep(round)
        updates = [Update(visit, start, state, trained.steps) for visit in visits]
        metrics, beside, remembered = outcome(rules, updates)
        own = {name: tensor for name, tensor in state.items() if name in plan.kept}
        kept |= ClientMemory(round, own, remembered).to_private()
        return LocalUpdate(
            state=state,
            private=kept,
            examples=len(examples),
            trained=trained,
            seconds=time.perf_counter() - begin,
            metrics=metrics,
            extra=beside,
        )

    def _received(
        self, plan: TravelPlan, received: Mapping[str, Tensor], memory: ClientMemory | None
    ) -> State:
        """Return all federated tensors: those that were sent, and the client's own of the rest."""
        state = dict(received)
        if plan.local:
            own = memory.own if memory else self._initial
            state |= {name: own[name] for name in plan.local if name in own}
        if memory:
            state |= {name: memory.own[name] for name in plan.newer(memory.own, memory.round)}
        return state

    def _visits(
        self,
        rules: Sequence[ClientRule],
        received: State,
        sent: Collection[str],
        memory: ClientMemory | None,
        extra: Mapping[str, Tensor],
        *,
        client: int,
        round: int,
    ) -> list[Visit]:
        """Return what each rule is told of the client's round."""
        config = self.config.client
        visits = []
        for rule in rules:
            rule.check(config, self.objective)
            name = rule.config.name
            visits.append(
                Visit(
                    round=round,
                    received=received,
                    sent=sent,
                    trained=self._trained_names,
                    parts=self._parts,
                    memory=memory.rules.get(name, {}) if memory else {},
                    last_round=memory.round if memory else None,
                    extra=of_rule(name, extra),
                    momentum=config.momentum,
                    nesterov=config.nesterov,
                    lr=learning_rate(config, round, self.config.rounds),
                    seed=self.config.seed,
                    draws=generator(self.config.seed, f"rule {name}", round, client),
                )
            )
        return visits

    def _optimizer_of(self, parameters: list[nn.Parameter]) -> Optimizer:
        """Return an optimiser, like the client's, of what rules train themselves."""
        optimizer = build_optimizer(parameters, self.config.client)
        for own, ours in zip(optimizer.param_groups, self.optimizer.param_groups, strict=True):
            own["lr"] = ours["lr"]
        return optimizer

    def _views_of(self, examples: Tensor) -> Callable[[torch.Generator], Tensor]:
        """Return what draws as many examples as a step has, and makes a view of each."""
        size = min(len(examples), self.config.client.batch_size)

        def draw(draws: torch.Generator) -> Tensor:
            rows = torch.randperm(len(examples), generator=draws)[:size]
            # A rule asks in the middle of a step, where autocast is on, and views are float32.
            with torch.autocast(self.device.type, enabled=False):
                view: Tensor = self.views(examples[rows.to(self.device)], draws, 1)
            return view

        return draw

    @cached_property
    def _parts(self) -> ModelParts:
        return model_parts(self.objective)

    @cached_property
    def _trained_names(self) -> dict[str, None]:
        return trained_names(self.objective)

    @cached_property
    def _initial(self) -> State:
        """The federated tensors that the seed makes."""
        return federated_state(self.blueprint.build().to(self.device))

    def _restore(
        self,
        received: Mapping[str, Tensor],
        private: Mapping[str, Tensor],
        examples: int,
        *,
        client: int,
        round: int,
    ) -> None:
        objective = self.objective
        objective.resize(examples)
        own = {n: t for n, t in private.items() if " " not in n}
        last = private.get(_LAST_ROUND)
        resync = last is not None and objective.on_return == "resync" and round > int(last) + 1
        if own and not resync:
            adopt(objective, clone(received), clone(own))
        else:
            adopt(objective, clone(received), clone(self._unstarted()))
            objective.start(generator(self.config.seed, "private state", round, client))
        kept = {
            n.removeprefix(_OPTIMIZER): t for n, t in private.items() if n.startswith(_OPTIMIZER)
        }
        restore_optimizer(self.optimizer, kept)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.client, round, self.config.rounds)

    def _unstarted(self) -> State:
        """Return the private state of a new model; what has another shape now is set by `start`."""
        return {
            name: new if (new := self._new_private[name]).shape == now.shape else now
            for name, now in private_state(self.objective).items()
        }

    def _optimizer_to_keep(self) -> State:
        if self.config.client.optimizer_state == "fresh":
            return {}
        state = optimizer_state(self.optimizer)
        return {_OPTIMIZER + name: value.clone() for name, value in state.items()}

    def _round_to_keep(self, round: int) -> State:
        return {_LAST_ROUND: torch.tensor(round)} if self.objective.on_return == "resync" else {}

    def _train(
        self, examples: Tensor, labels: Tensor, rules: RunningRules, *, client: int, round: int
    ) -> Trained:
        config = self.config.client
        draws = generator(self.config.seed, "views", round, client)
        own_draws = generator(self.config.seed, "objective", round, client)
        batches = list(self._batches(len(examples), client=client, round=round))
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        chance = 0.0
        self.objective.train()
        for step, rows in enumerate(batches):
            if self.stop.is_set():
                raise Stopped(f"client {client} was stopped in round {round}")
            rows = rows.to(self.device)
            chance += len(rows) * self.objective.chance_loss(len(rows))
            with span("views"):
                chosen = examples[rows]
                count = self.objective.views_in_all
                views = [self.views(chosen, draws, view) for view in range(1, count + 1)]
            with span("step"):
                # Weights, and so all that a client sends, stay float32: Flower has no bfloat16.
                with torch.autocast(
                    self.device.type, torch.bfloat16, enabled=self.precision == "bf16"
                ):
                    progress = (round - 1 + step / len(batches)) / self.config.rounds
                    batch = Batch(views, rows, labels[rows], own_draws, progress)
                    loss = self.objective.loss(batch)
                    whole = rules.add_to(loss, batch)
                self.optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(whole)
                if config.clip_norm is not None:
                    clip_grad_norm_(self.objective.parameters(), config.clip_norm)
                self.optimizer.step()
                share = (step + 1) / len(batches)
                self.objective.after_step((round - 1 + share) / self.config.rounds)
                rules.after_step()
            total += loss.detach() * len(rows)
        seen = sum(map(len, batches))
        mean = total.item() / seen
        if not math.isfinite(mean):
            what = f"loss became {mean}"
        # Only of what stays here: the model is looked at by who merges it.
        elif broken := first_not_finite(private_state(self.objective)):
            what = f"private state became infinite or NaN, in {broken} first,"
        else:
            return Trained(mean, chance / seen, len(batches))
        raise ValueError(
            f"client {client}'s {what} in round {round}: try a lower client.lr (now {config.lr}) "
            "or set client.clip_norm"
        )

    def _batches(self, count: int, *, client: int, round: int) -> Iterator[Tensor]:
        """Yield the rows of each step: shuffled passes, too small last batches left out."""
        config = self.config.client
        draws = generator(self.config.seed, "batches", round, client)
        smallest = self.objective.minimum_batch
        per_epoch = sum(
            min(config.batch_size, count - start) >= smallest
            for start in range(0, count, config.batch_size)
        )
        steps = config.local_steps or (config.local_epochs or 1) * per_epoch
        while steps > 0:
            for rows in torch.split(torch.randperm(count, generator=draws), config.batch_size):
                if len(rows) >= smallest and steps > 0:
                    steps -= 1
                    yield rows


def _recall(private: Mapping[str, Tensor], rules: Sequence[ClientRule]) -> ClientMemory | None:
    """Return what a client remembers; a ValueError says that another version wrote it."""
    if rules and ClientMemory.is_old(private):
        raise ValueError(
            f"what this client remembers for {rules[0].config.name} was written by an older "
            "version of fedssl: begin the run anew, or resume it with that version"
        )
    return ClientMemory.from_private(private)
