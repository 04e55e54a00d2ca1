"""The rules of one local update, at work."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fedssl.client_rules.base import ClientRule, ReportedMetric
from fedssl.client_rules.context import LocalStep, Update, Visit
from fedssl.client_rules.projection_hook import Watch
from fedssl.model_state import State
from fedssl.objectives.base import Objective
from fedssl.objectives.batch import Batch

Metrics = dict[str, float | list[float]]


class RunningRules:
    """What is added to a client's training during one update; a context.

    Parameters
    ----------
    rules : Sequence[ClientRule]
        Made for this client and round; of most strategies, none.
    visits : Sequence[Visit]
        What each is told.
    objective : Objective
        In training.
    start : Mapping[str, Tensor]
        The federated tensors that the update starts from.
    optimize : Callable[[list[nn.Parameter]], Optimizer]
        Makes an optimiser of what rules train themselves.
    draw_views : Callable[[torch.Generator], Tensor]
        Returns a view of as many examples as a step has, drawn from the client's.
    """

    def __init__(
        self,
        rules: Sequence[ClientRule],
        visits: Sequence[Visit],
        objective: Objective,
        start: Mapping[str, Tensor],
        optimize: Callable[[list[nn.Parameter]], Optimizer],
        draw_views: Callable[[torch.Generator], Tensor],
    ):
        self._pairs = list(zip(rules, visits, strict=True))
        self._objective = objective
        self._start = start
        self._draw_views = draw_views
        self._weights = {
            n: p for n, p in objective.named_parameters() if p.requires_grad and n in start
        }
        self._watch = Watch(objective) if any(rule.watches for rule in rules) else None
        self._contexts = ExitStack()
        self._steps: list[LocalStep] = []
        for rule, visit in self._pairs:
            rule.begin(visit, objective, start)
        own = [p for rule in rules if rule.network for p in rule.network.parameters()]
        self._optimizer = optimize(own) if own else None

    def __enter__(self) -> Self:
        if self._watch:
            self._contexts.enter_context(self._watch)
        return self

    def __exit__(self, *exception: object) -> None:
        self._contexts.close()

    def add_to(self, loss: Tensor, batch: Batch) -> Tensor:
        """Return a step's loss with all terms, before its backward pass."""
        if not self._pairs:
            return loss
        taken: list[list[tuple[Tensor, Tensor]]] = []

        def take() -> list[tuple[Tensor, Tensor]]:
            if not taken:
                if self._watch is None:
                    raise ValueError("a rule that reads projections must have `watches` set")
                taken.append(self._watch.take())
            return taken[0]

        self._steps = []
        for rule, visit in self._pairs:
            step = LocalStep(
                self._objective,
                batch,
                self._weights,
                self._start,
                take,
                lambda visit=visit: self._draw_views(visit.draws),  # type: ignore[misc]
            )
            self._steps.append(step)
            if (term := rule.term(step)) is not None:
                loss = loss + term
        if self._optimizer:
            self._optimizer.zero_grad(set_to_none=True)
        return loss

    def after_step(self) -> None:
        """Let rules train what is theirs, and act, after the optimiser's step."""
        if self._optimizer:
            self._optimizer.step()
        for (rule, _), step in zip(self._pairs, self._steps, strict=True):
            rule.after_step(step)
        # So that no graph outlives its step.
        self._steps = []
        if self._watch:
            self._watch.forget()


def outcome(
    rules: Sequence[ClientRule], updates: Sequence[Update]
) -> tuple[Metrics, State, dict[str, State]]:
    """Return what rules report, what they send beside the model, and what the client remembers.

    Names that travel have the rule's before them.

    Raises
    ------
    ValueError
        A rule would send what it does not declare.
    """
    metrics: Metrics = {}
    extra: State = {}
    memory: dict[str, State] = {}
    for rule, update in zip(rules, updates, strict=True):
        name, visit = rule.config.name, update.visit
        sent = {n: t for n, t in visit.received.items() if n in visit.sent}
        reported, tensors = rule.metrics(update), rule.tensors(update)
        _check_metrics(name, reported, rule.metrics_sent(sent, visit.parts))
        _check_tensors(name, tensors, rule.tensors_sent(sent, visit.parts))
        metrics |= {f"{name}/{key}": value for key, value in reported.items()}
        extra |= {f"{name}/{key}": tensor for key, tensor in tensors.items()}
        if kept := rule.remember(update):
            memory[name] = kept
    return metrics, extra, memory


def remembered_by(
    rules: Sequence[ClientRule], visit: Visit, before: State, after: State, steps: int
) -> dict[str, State]:
    """Return what a client would remember of an update, had it followed rules on a first visit.

    Parameters
    ----------
    rules : Sequence[ClientRule]
        Which were not at work.
    visit : Visit
        What they would have been told; ``extra`` is of all of them.
    before, after : State
        All federated tensors as the update began, and as it ended.
    steps : int
        How many steps it had.
    """
    found = {}
    for rule in rules:
        name = rule.config.name
        told = replace(visit, extra=of_rule(name, visit.extra))
        if kept := rule.remember(Update(told, before, after, steps)):
            found[name] = kept
    return found


def of_rule(name: str, extra: Mapping[str, Tensor]) -> State:
    """Return a rule's own of the tensors that travel beside a model, by its own names."""
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
        count = len(value) if isinstance(value, list) else None
        if metric.count != count:
            kinds = ["one number" if n is None else f"a list of {n}" for n in (metric.count, count)]
            raise ValueError(
                f"the client rule {rule} declares {key} as {kinds[0]}, and reports {kinds[1]}"
            )


def _check_tensors(rule: str, sent: Mapping[str, Tensor], declared: Mapping[str, Tensor]) -> None:
    _check_names(rule, "tensor", sent, declared)
    for key, like in declared.items():
        tensor = sent[key]
        if (tensor.shape, tensor.dtype) != (like.shape, like.dtype):
            raise ValueError(
                f"the client rule {rule} declares {key} as {like.dtype} {tuple(like.shape)}, and "
                f"sends {tensor.dtype} {tuple(tensor.shape)}"
            )


def _check_names(
    rule: str, what: str, given: Mapping[str, object], declared: Mapping[str, object]
) -> None:
    if undeclared := sorted(given.keys() - declared.keys()):
        raise ValueError(
            f"the client rule {rule} would send the {what} {undeclared[0]}, which `{what}s_sent` "
            "does not declare"
        )
    if missing := sorted(declared.keys() - given.keys()):
        raise ValueError(
            f"the client rule {rule} declares the {what} {missing[0]}, which `{what}s` does not "
            "return"
        )
