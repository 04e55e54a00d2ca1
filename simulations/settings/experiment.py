"""The whole config of an experiment: one YAML file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from fedssl.base.config_file import read
from fedssl.base.fields import Number
from fedssl.base.precision import choose_precision
from fedssl.config import LearningConfig
from simulations.settings.engines import ENGINES, EngineConfig, LocalConfig
from strategies import STRATEGIES, FedAvg, StrategyConfig


class Experiment(LearningConfig):
    """An experiment: what is learned, how it is merged, and where it runs.

    Examples
    --------
    >>> sections = {
    ...     "data": {"name": "glyphs"},
    ...     "partition": {"name": "iid", "clients": 5},
    ...     "objective": {"name": "simclr"},
    ... }
    >>> Experiment.model_validate(sections).strategy.name
    'fedavg'
    """

    participation: Number = Field(1.0, gt=0, le=1)
    """The share of the clients drawn in each round; at least one is."""
    only_client: int | None = Field(None, ge=0)
    """Let this client alone take part, in every round: what it learns without the others."""
    strategy: Annotated[StrategyConfig, STRATEGIES.choice] = FedAvg.Config()
    """How the server merges the clients' models."""
    engine: Annotated[EngineConfig, ENGINES.choice] = LocalConfig()
    """Where the clients run."""


def load_experiment(path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment from its YAML file.

    ::

        load_experiment("configs/quickstart.yaml", ["rounds=5", "client.lr=0.05"])

    Parameters
    ----------
    path : str | Path
        The YAML file; paths in it are relative to its folder.
    overrides : Iterable[str]
        Values that replace those in the file, such as ``rounds=5`` or ``client.lr=0.05``.

    Raises
    ------
    ConfigError
        The config is invalid; the message has a line with field, value and fix for each problem.
    """
    return read(Experiment, Path(path), overrides)


def resolve(experiment: Experiment) -> Experiment:
    """Replace automatic values by those for this machine.

    Raises
    ------
    ConfigError
        The machine lacks what the engine needs, such as a GPU.
    """
    client = experiment.client
    engine = experiment.engine.resolve(client.threads)
    precision = choose_precision(client.precision, torch.device(engine.device))
    return experiment.model_copy(
        update={
            "engine": engine,
            "client": client.model_copy(update={"precision": precision}),
        }
    )
