"""Load the model of a run: the final one, or that of the last checkpoint of an unfinished run."""

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
class TrainedModel:
    """A run's encoder and projector."""

    state: State
    """The tensors of both, named as in the objective."""
    about: ModelDescription
    """The description that is needed to use them."""
    unfinished: str | None
    """A sentence that names the round where the run is not finished, else None."""


def load_trained_model(
    run: Path, on_message: Callable[[str], None] = lambda _: None
) -> TrainedModel:
    """Return the model of a run.

    Parameters
    ----------
    run : Path
        A run's folder, or its ``model.safetensors``.
    on_message : Callable[[str], None]
        Called with a message where the newest checkpoint is damaged, so that the one before is
        used.

    Raises
    ------
    ValueError
        There is no model and no checkpoint, or it cannot be used.
    """
    files = RunFolder(run)
    if not files.config.is_file() or os.path.lexists(files.model):
        state, about = read_model(run)
        if about.has_known_encoder:
            # Loading it finds damage, such as in a tensor's name, before it is exported.
            load_encoder(run)
        return TrainedModel(state, about, None)
    experiment = load_run_config(run)
    blueprint = blueprint_of(experiment)
    objective, checkpoint = load_checkpoint_model(files, blueprint, on_message)
    state, about = describe_model(objective, blueprint)
    unfinished = f"after round {checkpoint.round} of {experiment.rounds}: the run is not finished"
    return TrainedModel(state, about, unfinished)


def blueprint_of(experiment: Experiment) -> ModelBlueprint:
    """Return the blueprint of a run's model.

    Raises
    ------
    ConfigError
        Its examples cannot be read.
    """
    return ModelBlueprint.of(experiment, load_examples(experiment).train)


def load_checkpoint_model(
    files: RunFolder, blueprint: ModelBlueprint, on_message: Callable[[str], None]
) -> tuple[Objective, Checkpoint]:
    """Return a run's objective with the weights of its last checkpoint, and that checkpoint.

    Raises
    ------
    ConfigError
        There is no checkpoint, it is damaged, or it is that of another model.
    """
    checkpoint = load_last_checkpoint(files, on_message)
    try:
        objective = blueprint.build()
        rebind_tensors(objective, checkpoint.model)
    # Classes from outside this package may raise anything, as may sizes too large for memory.
    except Exception as error:
        raise ConfigError(
            f"{files.checkpoint.folder}: does not fit {files.config.name}: {error}"
        ) from error
    return objective, checkpoint


def load_last_checkpoint(files: RunFolder, on_message: Callable[[str], None]) -> Checkpoint:
    """Return a run's last checkpoint; raise a ConfigError where there is none or it is damaged.

    ``on_message`` is called with a message where the newest is damaged, so that the one before is
    returned.
    """
    try:
        checkpoint = files.checkpoint.load(on_message)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if checkpoint is None:
        raise ConfigError(f"{files.checkpoint.folder}: holds no checkpoint")
    return checkpoint
