"""The ``engine`` section: where the clients run."""

import os
import re
from typing import Annotated, Literal, Self

import torch
from pydantic import AfterValidator, Field, PositiveInt

from fedssl.base.config_file import ConfigError
from fedssl.base.fields import Fields, Number
from fedssl.base.registry import Registry
from simulations.settings.resources import choose_workers


class EngineConfig(Fields):
    """The ``engine`` section: where the clients run. It never changes the result."""

    name: str
    """Which engine."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models and examples live; auto takes a GPU if there is one."""

    def resolve(self, threads: int) -> Self:
        """Replace automatic values by those for this machine.

        Parameters
        ----------
        threads : int
            ``client.threads``.

        Raises
        ------
        ConfigError
            The machine lacks what the config requests.
        """
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                "engine.device = cuda: PyTorch sees no GPU here; use cpu, or install a CUDA build"
            )
        return self.model_copy(update={"device": device})


class LocalConfig(EngineConfig):
    """In this process, on threads: the fastest on one machine with one GPU or a few cores."""

    name: Literal["local"] = "local"
    workers: int | None = Field(None, ge=1, le=1024)
    """Clients that run at once; null is one on a GPU and one a core on a CPU."""

    def resolve(self, threads: int) -> Self:
        """Replace automatic values; see `EngineConfig.resolve`."""
        resolved = super().resolve(threads)
        if resolved.workers is not None:
            return resolved
        workers = 1 if resolved.device == "cuda" else os.cpu_count() or 1
        return resolved.model_copy(update={"workers": workers})


def _address(address: str) -> str:
    if not re.fullmatch(r"[^/\s]+:\d+", address):
        raise ValueError("must be HOST:PORT as `ray start --head` prints it, or null")
    return address


class RayConfig(EngineConfig):
    """In processes of their own, through Ray: for several GPUs, many cores, or a cluster."""

    name: Literal["ray"] = "ray"
    workers: int | None = Field(None, ge=1, le=1024)
    """Processes that each run a client at a time; null is as many as there is room for: one per
    `client.threads` cores on CPUs, one per GPU with cuda."""
    gpus_per_worker: Number | None = Field(None, ge=0, le=1)
    """The share of a GPU that a worker takes, such as 0.25; null is 1 with cuda, else 0."""
    address: Annotated[str, AfterValidator(_address)] | None = None
    """HOST:PORT of a Ray cluster to join; null starts a Ray of its own on this machine."""

    def resolve(self, threads: int) -> Self:
        """Replace automatic values; see `EngineConfig.resolve`.

        How many workers null means on a cluster is known once it is joined.
        """
        resolved = super().resolve(threads)
        on_gpu = resolved.device == "cuda"
        gpus = resolved.gpus_per_worker
        if gpus is None:
            gpus = 1.0 if on_gpu else 0.0
        elif on_gpu != (gpus > 0):
            fix = "give more than 0, up to 1" if on_gpu else "leave it out, or use cuda"
            raise ConfigError(
                f"engine.gpus_per_worker = {gpus:g}: engine.device is {resolved.device}; {fix}"
            )
        workers = resolved.workers
        if resolved.address is None:
            here = {"CPU": os.cpu_count() or 1, "GPU": torch.cuda.device_count()}
            workers = choose_workers(workers, [here], threads, gpus, "this machine")
        return resolved.model_copy(update={"gpus_per_worker": gpus, "workers": workers})


class FlowerConfig(EngineConfig):
    """On devices, over gRPC; `fedssl run` rehearses it here with a SuperNode for each client."""

    name: Literal["flower"] = "flower"
    """Devices behind Flower's SuperLink."""
    min_clients: PositiveInt = 1
    """A round counts once so many of its clients have answered."""
    round_timeout: Number = Field(600.0, gt=0)
    """Seconds that clients have to answer in a round; who is later counts as failed."""
    give_up_after: Number = Field(3600.0, gt=0)
    """Seconds with fewer than min_clients after which the run stops; it can be resumed."""
    max_examples: PositiveInt = 10_000_000
    """The most examples that a client may say it has: it weighs by them in most strategies."""


# Closed: opening an engine, and what it needs of Flower, is not for a config to choose.
ENGINES = Registry(
    "engine",
    "fedssl.engines",
    EngineConfig,
    LocalConfig,
    RayConfig,
    FlowerConfig,
    closed=True,
)
"""The engines by name."""
