"""The strategies that are to merge a round's replies, and what has to be known of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedssl.base.config_file import ConfigError
from fedssl.client_rules import ClientRule, ClientRuleConfig
from fedssl.model_state import State, federated_state, floating_buffer_names, tensor_roles
from fedssl.training.instructions import Instructions
from simulations.comparing.arms import Arm
from simulations.record.run_folder import RunFolder
from simulations.settings.engines import LocalConfig
from simulations.settings.experiment import Experiment
from simulations.settings.own_code import load_run_config
from simulations.setup.prepare import Prepared, check_cohort
from strategies import FoldingStrategy, Stateful
from strategies import build as build_strategy
from strategies.base import build_extra, build_instructions


@dataclass(frozen=True)
class Candidate:
    """A strategy that is to merge the replies."""

    label: str
    experiment: Experiment
    is_own: bool
    """Whether the run itself was made with it, so that what it had kept is known."""
    instructions: Instructions
    """What it has clients do in the round."""
    rules: tuple[ClientRule, ...]
    """Its client rules."""
    sent: frozenset[str]
    """What clients send it beside the model, and report to it."""
    extra: State
    """What it sends clients beside the model, where it begins with nothing."""
    keeps_state: bool
    """Whether it keeps something on the server from round to round."""
    may_forget: bool
    """Whether it could keep something that no checkpoint has: Flower's FedAdam does."""

    lacks_statistics: bool
    """Whether BatchNorm's stay on the clients, so that the server must measure its own."""

    @property
    def trains_in_another_way(self) -> bool:
        """Whether it has clients do more than minimise their objective."""
        return not all(rule.metrics_only for rule in self.rules)

    @property
    def measuring(self) -> tuple[ClientRuleConfig, ...]:
        """Those of its client rules that change nothing of how clients train."""
        return tuple(rule.config for rule in self.rules if rule.metrics_only)


def load(folder: RunFolder, overrides: Sequence[str]) -> Experiment:
    """Read the run's config, to work in this process and to measure every round in the same way."""
    experiment = load_run_config(folder.path, overrides)
    engine = LocalConfig(device=experiment.engine.device)
    always = experiment.evaluation.model_copy(update={"every": 1, "measures": ()})
    return experiment.model_copy(update={"engine": engine, "evaluation": always})


def fields_of(arm: Arm, own: Experiment) -> list[str]:
    """Return what of the config makes a strategy: only the run's own has its fields from there."""
    is_own = arm.overrides[:1] in ((), (f"strategy.name={own.strategy.name}",))
    return [*([] if is_own else ["strategy={}"]), *arm.overrides]


def build_candidate(
    arm: Arm, experiment: Experiment, prepared: Prepared, server_round: int
) -> Candidate:
    """Build a strategy once; a ConfigError says that it cannot be, or needs more clients."""
    own = prepared.experiment
    objective = prepared.blueprint.build()
    try:
        strategy = build_strategy(experiment.strategy, tensor_roles(objective))
    # Classes of a person's own are among them.
    except Exception as error:
        raise ConfigError(f"--strategies {arm.label}: {error}") from error
    check_cohort(experiment, prepared.partition.clients, strategy)
    model, parts = federated_state(objective), tensor_roles(objective)
    instructions = build_instructions(strategy, server_round, model)
    rules = tuple(instructions.build_rules())
    sent = [
        f"{rule.config.name}/{name}"
        for rule in rules
        if not rule.metrics_only
        for name in (*rule.declared_tensors(model, parts), *rule.declared_metrics(model, parts))
    ]
    return Candidate(
        arm.label,
        own.model_copy(update={"strategy": experiment.strategy}),
        experiment.strategy == own.strategy,
        instructions,
        rules,
        frozenset(sent),
        build_extra(strategy, server_round, model),
        isinstance(strategy, Stateful),
        not isinstance(strategy, (FoldingStrategy, Stateful)),
        any(
            f"encoder.{name}" in instructions.transmission.local
            for name in floating_buffer_names(objective.encoder)
        ),
    )


def measuring_rules(
    own: Candidate, candidates: Sequence[Candidate]
) -> tuple[ClientRuleConfig, ...]:
    """Return the client rules that only measure: the replies are made with all of them.

    Raises
    ------
    ConfigError
        Two differ in their numbers alone.
    """
    found: dict[str, ClientRuleConfig] = {}
    for rule in (rule for each in (own, *candidates) for rule in each.measuring):
        known = found.setdefault(rule.name, rule)
        if known != rule:
            numbers = " and ".join(sorted(_numbers(each) for each in (known, rule)))
            raise ConfigError(
                f"--strategies: they, or the run's own, have clients measure the {rule.name} in "
                f"different ways ({numbers}), and the replies have one; leave one of them out"
            )
    return tuple(found.values())


def _numbers(rule: ClientRuleConfig) -> str:
    return ", ".join(f"{name} {value}" for name, value in rule if name != "name")


def check_replies(own: Candidate, candidates: Sequence[Candidate]) -> None:
    """Raise a ConfigError where a strategy needs what the run's own leaves on the clients."""
    withheld = own.instructions.transmission.absent_from_reply
    for each in candidates:
        if each.is_own:
            continue
        if missing := withheld - each.instructions.transmission.absent_from_reply:
            raise ConfigError(
                f"--strategies {each.label}: needs all clients' {min(missing)}, which the run's "
                f"own strategy, {own.label}, leaves on the clients; leave it out"
            )
        if missing := each.sent - own.sent:
            raise ConfigError(
                f"--strategies {each.label}: needs all clients' {min(missing)}, which they do not "
                f"send to the run's own strategy, {own.label}; leave it out"
            )


def notes_on(own: Candidate, candidates: Sequence[Candidate]) -> list[str]:
    """Say what a merge of the same replies does not show of some strategies."""
    others = [each for each in candidates if not each.is_own]
    found = []
    if others and own.trains_in_another_way:
        found.append(
            f"{own.label}, the run's own, has clients train in another way: all merge the replies "
            "that were made so."
        )
    for each in others:
        if each.trains_in_another_way:
            found.append(
                f"{each.label} asks clients to train in another way: these replies were not, "
                "only those of the rounds that follow."
            )
        if each.keeps_state or each.may_forget:
            keeps = "keeps" if each.keeps_state else "may keep"
            found.append(
                f"{each.label} {keeps} something from round to round, such as momentum: here it "
                "begins with nothing."
            )
    measured = [each.label for each in candidates if each.lacks_statistics]
    if 0 < len(measured) < len(candidates):
        found.append(
            f"{', '.join(measured)}: BatchNorm's statistics stay on the clients, so the probed "
            "ones are measured anew. Of the others they are the merged ones: compare with their "
            "`recalibrated` of `fedssl audit`."
        )
    return found


def forgot(candidate: Candidate, made: Mapping[str, float], rankme: float) -> list[str]:
    """Say where the run's own strategy did not merge the replies to what the run made of them."""
    if not candidate.is_own or math.isclose(rankme, made["rankme"], rel_tol=1e-3):
        return []
    return [
        f"{candidate.label} merged the replies to something else in the run: it keeps something "
        "from round to round without saying so (`strategies.Stateful`), and begins with nothing "
        "here."
    ]
