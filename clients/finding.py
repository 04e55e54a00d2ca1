"""What a client of a plain Flower run trains on: its part of the examples that the config names.

So ``flwr run`` works on the repository, with Flower's SuperNodes or its simulation. A device with
examples of its own rather runs `fedssl join`.
"""

import shlex
from functools import lru_cache
from pathlib import Path

import torch
from flwr.app import Context
from pydantic import ConfigDict

from clients.device import Device
from clients.runtime import ClientRuntime
from fedssl.config import LearningConfig
from fedssl.config_file import read
from fedssl.modalities import load
from fedssl.partitions import partition

ROOT = Path(__file__).parents[1]
"""Where the app lies: its configs are in it."""


class _Learning(LearningConfig):
    """An experiment's file, of which a client has no use for the rest."""

    model_config = ConfigDict(extra="ignore")


def runtime_of(context: Context) -> ClientRuntime:
    """Return what this process holds to train a client.

    Parameters
    ----------
    context : Context
        Its ``run_config`` names a config of the app by ``config``, and may hold ``overrides``; or
        ``learning``, from `fedssl serve`, where the ``node_config`` has this client's ``examples``.

    Raises
    ------
    ValueError
        The config cannot be used, or the examples cannot be read.
    """
    run, node = context.run_config, context.node_config
    if learning := run.get("learning"):
        return _device(str(node["examples"]), int(node["partition-id"])).runtime(str(learning))
    return _share(str(run["config"]), str(run.get("overrides", "")))


def overrides_of(text: str) -> list[str]:
    """Split overrides as a shell does."""
    return shlex.split(text)


@lru_cache(1)
def _device(examples: str, client: int) -> Device:
    return Device(Path(examples), client, _own_device())


@lru_cache(1)
def _share(name: str, overrides: str) -> ClientRuntime:
    own = [
        override
        for override in overrides_of(overrides)
        if override.partition(".")[0].partition("=")[0] in LearningConfig.model_fields
    ]
    config = read(_Learning, ROOT / name, own)
    train = load(config.data).train
    shares = partition(config.partition, train, config.seed)
    return ClientRuntime(config, train, shares, _own_device())


def _own_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
