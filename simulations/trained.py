"""A run's model: that of its end or, while it goes on or was stopped, of its last checkpoint."""

import os
from dataclasses import dataclass
from pathlib import Path

from fedssl.config_file import ConfigError
from fedssl.libraries import is_of_library
from fedssl.local_update import build_objective
from fedssl.model_file import About, load_encoder, model_of, read_model
from fedssl.objectives import Objective
from fedssl.state import State, adopt
from simulations.checkpoint import Checkpoint
from simulations.experiment import Experiment, load_experiment
from simulations.own_code import check_own_code
from simulations.prepare import load_images
from simulations.run_folder import RunFolder


@dataclass(frozen=True)
class Trained:
    """A run's encoder and projector."""

    state: State
    """Their tensors, named as in the objective."""
    about: About
    """What is needed to use them."""
    unfinished: str | None
    """Which round they are of, in words, where the run is not finished."""


def trained(run: Path) -> Trained:
    """Return a run's model.

    Parameters
    ----------
    run : Path
        A run's folder, or its ``model.safetensors``.

    Raises
    ------
    ValueError
        There is neither a model nor a checkpoint, or it cannot be used.
    """
    files = RunFolder(run)
    if not files.config.is_file() or os.path.lexists(files.model):
        state, about = read_model(run)
        if "." not in about.encoder or is_of_library(about.encoder):
            # Damage within a tensor's name would otherwise be exported, too.
            load_encoder(run)
        return Trained(state, about, None)
    experiment = load_experiment(files.config)
    check_own_code(experiment, run)
    size = image_size_of(experiment)
    objective, found = at_checkpoint(files, experiment, size)
    state, about = model_of(objective, experiment, size)
    words = f"after round {found.round} of {experiment.rounds}: the run is not finished"
    return Trained(state, about, words)


def image_size_of(experiment: Experiment) -> int:
    """Return the side in pixels of the images that a run is trained on.

    Raises
    ------
    ConfigError
        They cannot be read.
    """
    return int(load_images(experiment).train.images.shape[-1])


def at_checkpoint(
    files: RunFolder, experiment: Experiment, image_size: int
) -> tuple[Objective, Checkpoint]:
    """Return a run's objective as it is in its last checkpoint, and this.

    Raises
    ------
    ConfigError
        There is none, it is damaged, or another model's.
    """
    found = last_checkpoint(files)
    try:
        objective = build_objective(experiment, image_size)
        adopt(objective, found.model)
    # Classes of a person's own may raise anything, as may sizes that no machine has memory for.
    except Exception as error:
        raise ConfigError(
            f"{files.checkpoint.folder}: does not fit {files.config.name}: {error}"
        ) from error
    return objective, found


def last_checkpoint(files: RunFolder) -> Checkpoint:
    """Return a run's last checkpoint; a ConfigError says that there is none, or a damaged one."""
    try:
        found = files.checkpoint.load()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if found is None:
        raise ConfigError(f"{files.checkpoint.folder}: holds no checkpoint")
    return found
