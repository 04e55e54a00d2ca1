"""Prepare a run: load and partition the examples, build the model, and check the config."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from flwr.serverapp.strategy import Strategy

from fedssl.base.config_file import ConfigError
from fedssl.data import Splits
from fedssl.evaluation.measures import MEASURES, check_of_a_round
from fedssl.modalities import load
from fedssl.model_state import federated_state
from fedssl.models.blueprint import ModelBlueprint
from fedssl.objectives import Objective
from fedssl.partitions import Counts, Partition, partition
from fedssl.training.optimizers import build_optimizer
from simulations.record.members import describe_clients, sizes_of
from simulations.settings.engines import FlowerConfig
from simulations.settings.experiment import Experiment, resolve
from simulations.setup.cohort import cohort_size
from strategies import FoldingStrategy
from strategies import build as build_strategy
from strategies.base import build_instructions


@dataclass(frozen=True)
class Prepared:
    """A resolved experiment, its examples, their partition, and the blueprint of its model."""

    experiment: Experiment
    splits: Splits
    partition: Partition
    blueprint: ModelBlueprint
    on_devices: bool = False
    """Whether clients hold their own data, so that only its amount is known here."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the columns of `counts`; ``unlabelled`` comes last where it is needed."""
        if self.on_devices:
            return ("unlabelled",)
        names = self.splits.train.class_names
        return (*names, "unlabelled") if bool((self.splits.train.labels < 0).any()) else names

    @property
    def counts(self) -> Counts:
        """The examples of each client and class."""
        if self.on_devices:
            sizes = self.partition.sizes()
            clients = np.flatnonzero(sizes)
            return Counts((len(sizes), 1), clients, np.zeros_like(clients), sizes[clients])
        labels, classes = self.splits.train.labels.numpy(), self.classes
        if len(classes) > len(self.splits.train.class_names):
            labels = np.where(labels < 0, len(classes) - 1, labels)
        return self.partition.counts(labels, len(classes))

    def of_members(self, members: Mapping[int, int]) -> "Prepared":
        """Return the same, for members that have so many examples each."""
        return replace(self, partition=Partition.of_sizes(sizes_of(members)))


def prepare(experiment: Experiment) -> Prepared:
    """Load the examples and partition them; every problem that can be found now is an error.

    Raises
    ------
    ConfigError
        The data cannot be read or partitioned, or the model cannot be built, by this config.
    """
    experiment = resolve(experiment)
    splits = load_examples(experiment)
    try:
        parts = partition(experiment.partition, splits.train, experiment.seed)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    blueprint = ModelBlueprint.of(experiment, splits.train)
    objective, strategy = _try_to_build(experiment, blueprint)
    try:
        objective.check(splits.train.labels)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    smallest = int(parts.sizes().min())
    if smallest < objective.minimum_batch:
        raise ConfigError(
            f"partition.minimum = {experiment.partition.minimum}: the smallest client got "
            f"{blueprint.modality.count(smallest)}, but {experiment.objective.name} needs at least "
            f"{objective.minimum_batch} in a batch; raise it"
        )
    check_cohort(experiment, parts.clients, strategy)
    _check_measures(experiment, splits)
    _check_devices(experiment, blueprint)
    return Prepared(experiment, splits, parts, blueprint)


def prepare_server(experiment: Experiment) -> Prepared:
    """Prepare a run whose clients hold their own examples, and come and go.

    The config's examples are only used for the central evaluation.

    Raises
    ------
    ConfigError
        The data cannot be read, or the model cannot be built, by this config.
    """
    experiment = resolve(experiment)
    splits = load_examples(experiment)
    blueprint = ModelBlueprint.of(experiment, splits.train)
    _try_to_build(experiment, blueprint)
    _check_measures(experiment, splits)
    _check_devices(experiment, blueprint)
    if any(section.name == "cka" for section in experiment.evaluation.measures):
        raise ConfigError(
            "evaluation.measures = cka: the clients' examples are not here; leave it out"
        )
    return Prepared(experiment, splits, Partition.of_sizes([]), blueprint, on_devices=True)


def load_examples(experiment: Experiment) -> Splits:
    """Load an experiment's examples.

    Raises
    ------
    ConfigError
        They cannot be read, or do not fit into memory.
    """
    try:
        return load(experiment.data)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    # PyTorch raises these for sizes too large for memory.
    except (RuntimeError, MemoryError, OverflowError) as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(
            f"data.name = {experiment.data.name}: cannot be loaded: {first}"
        ) from error


def check_cohort(experiment: Experiment, clients: int, strategy: Strategy) -> None:
    """Raise a ConfigError where a strategy needs more clients than a round has."""
    if fault := cohort_fault(experiment, range(clients), strategy):
        raise ConfigError(f"{fault}; raise it, or change the strategy's fields")


def cohort_fault(
    experiment: Experiment, clients: Collection[int], strategy: Strategy
) -> str | None:
    """Return an error where no cohort can be drawn from these clients, else None."""
    if not clients:
        return "there are no clients"
    needed = strategy.minimum_clients if isinstance(strategy, FoldingStrategy) else 1
    cohort = cohort_size(len(clients), experiment.participation)
    if (only := experiment.only_client) is not None:
        if only not in clients:
            return f"only_client = {only}: there are {describe_clients(clients)}"
        cohort = 1
    if cohort < needed:
        return (
            f"participation = {experiment.participation:g}: {cohort} of {len(clients)} clients "
            f"take part in a round, but the strategy {experiment.strategy.name} needs at least "
            f"{needed}"
        )
    return None


def _check_measures(experiment: Experiment, splits: Splits) -> None:
    labelled = all(bool((part.labels >= 0).any()) for part in (splits.train, splits.test))
    for section in experiment.evaluation.measures:
        try:
            chosen, _ = MEASURES.resolve(section, "evaluation.measures")
            check_of_a_round(chosen)
            if chosen.labels and not labelled:
                raise ValueError(
                    "needs labels of training and test examples, and there are none; leave it out"
                )
        except ValueError as error:
            raise ConfigError(f"evaluation.measures = {section.name}: {error}") from error


def _check_devices(experiment: Experiment, blueprint: ModelBlueprint) -> None:
    """Raise a ConfigError where clients are devices, which cannot train on such examples."""
    if not isinstance(experiment.engine, FlowerConfig):
        return
    try:
        blueprint.modality.device_data(experiment.data, blueprint.spec)
    except ValueError as error:
        raise ConfigError(f"engine.name = flower: {error}; use local or ray") from error


def _try_to_build(experiment: Experiment, blueprint: ModelBlueprint) -> tuple[Objective, Strategy]:
    """Build everything that the config names once, so that mistakes show before any work.

    Classes from outside this package may raise anything, which is then an error of the config.
    """
    try:
        objective = blueprint.try_out()
        parts = blueprint.facts.parts
        strategy = build_strategy(experiment.strategy, parts)
        model = federated_state(objective)
        for rule in build_instructions(strategy, 1, model).build_rules():
            rule.check(experiment.client, objective)
            if experiment.strategy.max_update_norm and rule.declared_tensors(model, parts):
                raise ValueError(
                    f"strategy.max_update_norm = {experiment.strategy.max_update_norm:g}: bounds "
                    f"the model alone, and {rule.config.name} has clients send tensors beside it; "
                    "leave it out, or choose another strategy"
                )
        build_optimizer(objective.parameters(), experiment.client)
        experiment.check_batch(objective.minimum_batch)
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ConfigError(f"the experiment cannot be built: {kind}{error}") from error
    return objective, strategy
