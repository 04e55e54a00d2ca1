"""The runtime of a client in ``flwr run``: it trains on its part of the config's examples.

``flwr run`` on this repository works with Flower's SuperNodes and with its simulation. A device
with its own examples runs `fedssl join` instead.
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
"""The folder of the app, in which its configs are."""


class _Learning(LearningConfig):
    """The learning part of an experiment file; other sections are ignored."""

    model_config = ConfigDict(extra="ignore")


def find_runtime(context: Context) -> ClientRuntime:
    """Return the runtime that trains the client of a context.

    Parameters
    ----------
    context : Context
        Its ``run_config`` has the key ``config``, the path of a config of the app, and maybe
        ``overrides``; or, from `fedssl serve`, the key ``learning``. Then its ``node_config`` has
        the path of this client's ``examples``.

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
    """Split overrides as a shell does.

    >>> split_overrides("rounds=5 client.lr=0.1")
    ['rounds=5', 'client.lr=0.1']
    """
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
