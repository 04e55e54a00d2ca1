"""The whole config of an experiment: one YAML file."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from fedssl.config import LearningConfig
from fedssl.config_file import ConfigError, read
from fedssl.fields import Number
from fedssl.precision import choose_precision
from simulations.engines import EngineChoice, EngineConfig, LocalConfig
from strategies import FedAvgConfig, StrategyChoice, StrategyConfig


class Experiment(LearningConfig):
    """An experiment: what is learned, how it is merged, and where it runs."""

    participation: Number = Field(1.0, gt=0, le=1)
    """The share of the clients drawn in each round; at least one is."""
    strategy: Annotated[StrategyConfig, StrategyChoice] = FedAvgConfig()
    """How the server merges the clients' models."""
    engine: Annotated[EngineConfig, EngineChoice] = LocalConfig()
    """Where the clients run."""


def load_experiment(path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment from its YAML file.

    Parameters
    ----------
    path : str | Path
        The file; the paths in it are relative to it.
    overrides : Iterable[str]
        Such as ``rounds=5`` or ``client.lr=0.05``.

    Raises
    ------
    ConfigError
        All that is wrong with it, a line each, with field, value and fix.
    """
    return read(Experiment, Path(path), overrides)


def resolve(experiment: Experiment) -> Experiment:
    """Replace what is automatic by what it means on this machine.

    Raises
    ------
    ConfigError
        A GPU is asked for and there is none.
    """
    engine = experiment.engine
    device = engine.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "engine.device = cuda: PyTorch sees no GPU here; use cpu, or install a CUDA build"
        )
    changes: dict[str, object] = {"device": device}
    if isinstance(engine, LocalConfig) and engine.workers is None:
        changes["workers"] = 1 if device == "cuda" else os.cpu_count() or 1
    client = experiment.client
    precision = choose_precision(client.precision, torch.device(device))
    return experiment.model_copy(
        update={
            "engine": engine.model_copy(update=changes),
            "client": client.model_copy(update={"precision": precision}),
        }
    )
