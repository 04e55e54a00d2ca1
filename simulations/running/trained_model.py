"""A run's model: that of its end or, while it goes on or was stopped, of its last checkpoint."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedssl.base.config_file import ConfigError
from fedssl.model_state import State, rebind_tensors
from fedssl.models.blueprint import ModelBlueprint
from fedssl.models.model_file import ModelDescription, describe_model, load_encoder, read_model
from fedssl.objectives import Objective
from simulations.record.checkpoint import Checkpoint
from simulations.record.run_folder import RunFolder
from simulations.settings.experiment import Experiment
from simulations.settings.own_code import load_run_config
from simulations.setup.prepare import load_examples


@dataclass(frozen=True)
class Trained:
    """A run's encoder and projector."""

    state: State
    """Their tensors, named as in the objective."""
    about: ModelDescription
    """What is needed to use them."""
    unfinished: str | None
    """Which round they are of, in words, where the run is not finished."""


def trained(run: Path, said: Callable[[str], None] = lambda _: None) -> Trained:
    """Return a run's model.

    Parameters
    ----------
    run : Path
        A run's folder, or its ``model.safetensors``.
    said : Callable[[str], None]
        Told where the newest checkpoint is damaged, and the one before is used.

    Raises
    ------
    ValueError
        There is neither a model nor a checkpoint, or it cannot be used.
    """
    files = RunFolder(run)
    if not files.config.is_file() or os.path.lexists(files.model):
        state, about = read_model(run)
        if about.has_known_encoder:
            # Damage within a tensor's name would otherwise be exported, too.
            load_encoder(run)
        return Trained(state, about, None)
    experiment = load_run_config(run)
    blueprint = blueprint_of(experiment)
    objective, found = at_checkpoint(files, blueprint, said)
    state, about = describe_model(objective, blueprint)
    words = f"after round {found.round} of {experiment.rounds}: the run is not finished"
    return Trained(state, about, words)


def blueprint_of(experiment: Experiment) -> ModelBlueprint:
    """Return the blueprint of a run's model.

    Raises
    ------
    ConfigError
        Its examples cannot be read.
    """
    return ModelBlueprint.of(experiment, load_examples(experiment).train)


def at_checkpoint(
    files: RunFolder, blueprint: ModelBlueprint, said: Callable[[str], None]
) -> tuple[Objective, Checkpoint]:
    """Return a run's objective as it is in its last checkpoint, and this; see `last_checkpoint`.

    Raises
    ------
    ConfigError
        There is none, it is damaged, or another model's.
    """
    found = last_checkpoint(files, said)
    try:
        objective = blueprint.build()
        rebind_tensors(objective, found.model)
    # Classes of a person's own may raise anything, as may sizes that no machine has memory for.
    except Exception as error:
        raise ConfigError(
            f"{files.checkpoint.folder}: does not fit {files.config.name}: {error}"
        ) from error
    return objective, found


def last_checkpoint(files: RunFolder, said: Callable[[str], None]) -> Checkpoint:
    """Return a run's last checkpoint; a ConfigError says that there is none, or a damaged one.

    ``said`` is told where the newest is damaged and the one before is returned.
    """
    try:
        found = files.checkpoint.load(said)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if found is None:
        raise ConfigError(f"{files.checkpoint.folder}: holds no checkpoint")
    return found
