"""Run the client rules of one local update."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fedssl.client_rules.base import ClientRule, ReportedMetric
from fedssl.client_rules.context import ClientRound, LocalStep, Update
from fedssl.client_rules.projection_recorder import ProjectionRecorder
from fedssl.model_state import State
from fedssl.objectives.base import Objective
from fedssl.objectives.batch import Batch

Metrics = dict[str, float | list[float]]


class RuleRunner:
    """Runs all client rules during one local update; a context manager.

    Parameters
    ----------
    rules : Sequence[ClientRule]
        The client rules, made for this client and round; most strategies have none.
    client_rounds : Sequence[ClientRound]
        The client's round as each rule knows it, in the order of the rules.
    objective : Objective
        The model, in train mode.
    training_start : Mapping[str, Tensor]
        All federated tensors from which the update starts.
    build_optimizer : Callable[[list[nn.Parameter]], Optimizer]
        Builds an optimiser for the parameters of the rules' own networks.
    sample_view : Callable[[torch.Generator], Tensor]
        Returns one view of each example in a new random batch of the client's.
    """

    def __init__(
        self,
        rules: Sequence[ClientRule],
        client_rounds: Sequence[ClientRound],
        objective: Objective,
        training_start: Mapping[str, Tensor],
        build_optimizer: Callable[[list[nn.Parameter]], Optimizer],
        sample_view: Callable[[torch.Generator], Tensor],
    ):
        self._pairs = list(zip(rules, client_rounds, strict=True))
        self._objective = objective
        self._training_start = training_start
        self._sample_view = sample_view
        self._weights = {
            n: p for n, p in objective.named_parameters() if p.requires_grad and n in training_start
        }
        needs_projections = any(rule.needs_projections for rule in rules)
        self._recorder = ProjectionRecorder(objective) if needs_projections else None
        self._contexts = ExitStack()
        self._steps: list[LocalStep] = []
        for rule, client_round in self._pairs:
            rule.on_round_start(client_round, objective, training_start)
        parameters = [p for rule in rules if rule.network for p in rule.network.parameters()]
        self._optimizer = build_optimizer(parameters) if parameters else None

    def __enter__(self) -> Self:
        if self._recorder:
            self._contexts.enter_context(self._recorder)
        return self

    def __exit__(self, *exception: object) -> None:
        self._contexts.close()

    def total_loss(self, loss: Tensor, batch: Batch) -> Tensor:
        """Return a step's loss plus the terms of all rules, and prepare the backward pass."""
        if not self._pairs:
            return loss
        projections: list[list[tuple[Tensor, Tensor]]] = []

        def read_projections() -> list[tuple[Tensor, Tensor]]:
            if not projections:
                if self._recorder is None:
                    raise ValueError(
                        "a client rule that reads projections must set `needs_projections = True`"
                    )
                projections.append(self._recorder.take())
            return projections[0]

        self._steps = []
        for rule, client_round in self._pairs:
            step = LocalStep(
                self._objective,
                batch,
                self._weights,
                self._training_start,
                read_projections,
                lambda client_round=client_round: self._sample_view(client_round.generator),  # type: ignore[misc]
            )
            self._steps.append(step)
            if (term := rule.term(step)) is not None:
                loss = loss + term
        if self._optimizer:
            self._optimizer.zero_grad(set_to_none=True)
        return loss

    def after_step(self) -> None:
        """Step the optimiser of the rules' networks, and call each rule's `after_step`."""
        if self._optimizer:
            self._optimizer.step()
        for (rule, _), step in zip(self._pairs, self._steps, strict=True):
            rule.after_step(step)
        # So that no graph outlives its step.
        self._steps = []
        if self._recorder:
            self._recorder.clear()


def collect_outputs(
    rules: Sequence[ClientRule], updates: Sequence[Update]
) -> tuple[Metrics, State, dict[str, State]]:
    """Return the rules' metrics, their extra tensors, and the tensors that each remembers.

    Metrics and extra tensors have keys such as ``scaffold/encoder.weight``; the remembered tensors
    are in one dictionary for each rule.

    Raises
    ------
    ValueError
        A rule returns other metrics or tensors than it declares.
    """
    metrics: Metrics = {}
    extra: State = {}
    memory: dict[str, State] = {}
    for rule, update in zip(rules, updates, strict=True):
        name, client_round = rule.config.name, update.client_round
        names = client_round.received_names
        received = {n: t for n, t in client_round.round_start.items() if n in names}
        reported, tensors = rule.metrics(update), rule.tensors(update)
        _check_metrics(name, reported, rule.declared_metrics(received, client_round.roles))
        _check_tensors(name, tensors, rule.declared_tensors(received, client_round.roles))
        metrics |= {f"{name}/{key}": value for key, value in reported.items()}
        extra |= {f"{name}/{key}": tensor for key, tensor in tensors.items()}
        if remembered := rule.remember(update):
            memory[name] = remembered
    return metrics, extra, memory


def memory_after(
    rules: Sequence[ClientRule],
    client_round: ClientRound,
    before: State,
    after: State,
    steps: int,
) -> dict[str, State]:
    """Return what a client would remember, had these rules been active in its first round.

    Parameters
    ----------
    rules : Sequence[ClientRule]
        Client rules that were not active in the update.
    client_round : ClientRound
        The client's round; its ``extra`` holds the extra tensors of all rules.
    before, after : State
        All federated tensors at the start and at the end of the update.
    steps : int
        The number of optimiser steps.

    Returns
    -------
    dict[str, State]
        The remembered tensors by the rule's name; rules that remember nothing are left out.
    """
    memory = {}
    for rule in rules:
        name = rule.config.name
        rule_round = replace(client_round, extra=select_rule_tensors(name, client_round.extra))
        if remembered := rule.remember(Update(rule_round, before, after, steps)):
            memory[name] = remembered
    return memory


def select_rule_tensors(name: str, extra: Mapping[str, Tensor]) -> State:
    """Return one rule's extra tensors, without the rule's name in their names.

    Examples
    --------
    >>> select_rule_tensors("fedx", {"fedx/bias": torch.zeros(1), "scaffold/bias": torch.ones(1)})
    {'bias': tensor([0.])}
    """
    prefix = f"{name}/"
    return {n.removeprefix(prefix): t for n, t in extra.items() if n.startswith(prefix)}


def _check_metrics(rule: str, reported: Metrics, declared: Mapping[str, ReportedMetric]) -> None:
    _check_names(rule, "metric", reported, declared)
    for key, metric in declared.items():
        if not isinstance(metric, ReportedMetric):
            raise ValueError(
                f"the client rule {rule} declares {key} as {metric!r}: it must be a ReportedMetric"
            )
        value = reported[key]
        length = len(value) if isinstance(value, list) else None
        if metric.length != length:
            expected, actual = (
                "one number" if n is None else f"a list of {n}" for n in (metric.length, length)
            )
            raise ValueError(
                f"the client rule {rule} declares {key} as {expected}, and reports {actual}"
            )


def _check_tensors(
    rule: str, tensors: Mapping[str, Tensor], declared: Mapping[str, Tensor]
) -> None:
    _check_names(rule, "tensor", tensors, declared)
    for key, like in declared.items():
        tensor = tensors[key]
        if (tensor.shape, tensor.dtype) != (like.shape, like.dtype):
            raise ValueError(
                f"the client rule {rule} declares {key} as {like.dtype} {tuple(like.shape)}, and "
                f"sends {tensor.dtype} {tuple(tensor.shape)}"
            )


def _check_names(
    rule: str, kind: str, returned: Mapping[str, object], declared: Mapping[str, object]
) -> None:
    if undeclared := sorted(returned.keys() - declared.keys()):
        raise ValueError(
            f"the client rule {rule} would send the {kind} {undeclared[0]}, which "
            f"`declared_{kind}s` does not declare"
        )
    if missing := sorted(declared.keys() - returned.keys()):
        raise ValueError(
            f"the client rule {rule} declares the {kind} {missing[0]}, which `{kind}s` does not "
            "return"
        )
