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
from fedssl.base.config_file import read
from fedssl.config import LearningConfig
from fedssl.modalities import load
from fedssl.partitions import partition

ROOT = Path(__file__).parents[1]
"""Where the app lies: its configs are in it."""


class _Learning(LearningConfig):
    """The learning part of an experiment file; other sections are ignored."""

    model_config = ConfigDict(extra="ignore")


def find_runtime(context: Context) -> ClientRuntime:
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
        return _open_device(str(node["examples"]), int(node["partition-id"])).runtime(str(learning))
    return _load_share(str(run["config"]), str(run.get("overrides", "")))


def split_overrides(text: str) -> list[str]:
    """Split overrides as a shell does."""
    return shlex.split(text)


@lru_cache(1)
def _open_device(examples: str, client: int) -> Device:
    return Device(Path(examples), client, _choose_device())


@lru_cache(1)
def _load_share(name: str, overrides: str) -> ClientRuntime:
    learning = [
        override
        for override in split_overrides(overrides)
        if override.partition(".")[0].partition("=")[0] in LearningConfig.model_fields
    ]
    config = read(_Learning, ROOT / name, learning)
    train = load(config.data).train
    shares = partition(config.partition, train, config.seed)
    return ClientRuntime(config, train, shares, _choose_device())


def _choose_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
