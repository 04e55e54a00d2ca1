"""The strategies that merge a round's replies, and the checks and notes that they need."""

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
    """A strategy that merges the replies."""

    label: str
    experiment: Experiment
    is_own: bool
    """Whether this is the run's own strategy, so that its state before the round is known."""
    instructions: Instructions
    """The strategy's instructions for clients in this round."""
    rules: tuple[ClientRule, ...]
    """The strategy's client rules."""
    required_names: frozenset[str]
    """The extra tensors and metrics that clients must send to this strategy."""
    extra: State
    """The extra tensors that the strategy, without earlier state, sends to clients."""
    keeps_state: bool
    """Whether the strategy has a state that checkpoints hold."""
    may_lose_state: bool
    """Whether the strategy could have a state that no checkpoint holds, as Flower's FedAdam has."""

    keeps_statistics_local: bool
    """Whether BatchNorm statistics stay on the clients, so that the server recalibrates its own."""

    @property
    def changes_training(self) -> bool:
        """Whether the strategy has clients do more than minimise their objective."""
        return not all(rule.metrics_only for rule in self.rules)

    @property
    def metric_rules(self) -> tuple[ClientRuleConfig, ...]:
        """The client rules that only measure, and change nothing in the training."""
        return tuple(rule.config for rule in self.rules if rule.metrics_only)


def load(folder: RunFolder, overrides: Sequence[str]) -> Experiment:
    """Read the run's config, set to run in this process and to evaluate every round alike."""
    experiment = load_run_config(folder.path, overrides)
    engine = LocalConfig(device=experiment.engine.device)
    evaluation = experiment.evaluation.model_copy(update={"every": 1, "measures": ()})
    return experiment.model_copy(update={"engine": engine, "evaluation": evaluation})


def overrides_of(arm: Arm, run_config: Experiment) -> list[str]:
    """Return a strategy's overrides; only the run's own strategy keeps the fields of its config."""
    is_own = arm.overrides[:1] in ((), (f"strategy.name={run_config.strategy.name}",))
    return [*([] if is_own else ["strategy={}"]), *arm.overrides]


def build_candidate(
    arm: Arm, experiment: Experiment, prepared: Prepared, server_round: int
) -> Candidate:
    """Build a strategy once; raise a ConfigError if it cannot be built or needs more clients."""
    run_config = prepared.experiment
    objective = prepared.blueprint.build()
    try:
        strategy = build_strategy(experiment.strategy, tensor_roles(objective))
    # The class may be the user's own, and raise anything.
    except Exception as error:
        raise ConfigError(f"--strategies {arm.label}: {error}") from error
    check_cohort(experiment, prepared.partition.clients, strategy)
    model, parts = federated_state(objective), tensor_roles(objective)
    instructions = build_instructions(strategy, server_round, model)
    rules = tuple(instructions.build_rules())
    required_names = [
        f"{rule.config.name}/{name}"
        for rule in rules
        if not rule.metrics_only
        for name in (*rule.declared_tensors(model, parts), *rule.declared_metrics(model, parts))
    ]
    return Candidate(
        arm.label,
        run_config.model_copy(update={"strategy": experiment.strategy}),
        experiment.strategy == run_config.strategy,
        instructions,
        rules,
        frozenset(required_names),
        build_extra(strategy, server_round, model),
        isinstance(strategy, Stateful),
        not isinstance(strategy, (FoldingStrategy, Stateful)),
        any(
            f"encoder.{name}" in instructions.transmission.local
            for name in floating_buffer_names(objective.encoder)
        ),
    )


def metric_rules_of(
    own: Candidate, candidates: Sequence[Candidate]
) -> tuple[ClientRuleConfig, ...]:
    """Return the client rules of all strategies that only measure; the replies need all of them.

    Raises
    ------
    ConfigError
        Two strategies have the same rule with different numbers.
    """
    rules: dict[str, ClientRuleConfig] = {}
    for rule in (rule for each in (own, *candidates) for rule in each.metric_rules):
        first = rules.setdefault(rule.name, rule)
        if first != rule:
            numbers = " and ".join(sorted(_numbers(each) for each in (first, rule)))
            raise ConfigError(
                f"--strategies: these strategies, or the run's own, have clients measure the "
                f"{rule.name} in different ways ({numbers}), and a reply holds only one of them; "
                "leave one of them out"
            )
    return tuple(rules.values())


def _numbers(rule: ClientRuleConfig) -> str:
    return ", ".join(f"{name} {value}" for name, value in rule if name != "name")


def check_replies(own: Candidate, candidates: Sequence[Candidate]) -> None:
    """Raise a ConfigError if a strategy needs what clients do not send to the run's own."""
    withheld = own.instructions.transmission.absent_from_reply
    for each in candidates:
        if each.is_own:
            continue
        if missing := withheld - each.instructions.transmission.absent_from_reply:
            raise ConfigError(
                f"--strategies {each.label}: needs all clients' {min(missing)}, which the run's "
                f"own strategy, {own.label}, leaves on the clients; leave it out"
            )
        if missing := each.required_names - own.required_names:
            raise ConfigError(
                f"--strategies {each.label}: needs all clients' {min(missing)}, which they do not "
                f"send to the run's own strategy, {own.label}; leave it out"
            )


def notes_on(own: Candidate, candidates: Sequence[Candidate]) -> list[str]:
    """Return notes on what a merge of the same replies cannot show about some strategies."""
    others = [each for each in candidates if not each.is_own]
    notes = []
    if others and own.changes_training:
        notes.append(
            f"{own.label}, the run's own strategy, changes how clients train: all strategies merge "
            "the replies of that training."
        )
    for each in others:
        if each.changes_training:
            notes.append(
                f"{each.label} changes how clients train: only the rounds that follow are trained "
                "in that way, not these replies."
            )
        if each.keeps_state or each.may_lose_state:
            keeps = "keeps" if each.keeps_state else "may keep"
            notes.append(
                f"{each.label} {keeps} a state between rounds, such as momentum: here it starts "
                "without one."
            )
    recalibrated = [each.label for each in candidates if each.keeps_statistics_local]
    if 0 < len(recalibrated) < len(candidates):
        notes.append(
            f"{', '.join(recalibrated)}: BatchNorm's statistics stay on the clients, so the probe "
            "uses recalibrated ones. For the other strategies it uses the merged ones: compare "
            "with their `recalibrated` in `fedssl audit`."
        )
    return notes


def notes_on_lost_state(candidate: Candidate, row: Mapping[str, float], rankme: float) -> list[str]:
    """Return a note if the run's own strategy merges to another model than in the run."""
    if not candidate.is_own or math.isclose(rankme, row["rankme"], rel_tol=1e-3):
        return []
    return [
        f"{candidate.label} merged these replies to another model in the run: it keeps a state "
        "between rounds without declaring it (`strategies.Stateful`), and starts without it here."
    ]
