"""Engines: where the clients run. Each is a Flower Grid."""

from typing import Literal

from pydantic import Field, PositiveInt

from fedssl.fields import Choice, Fields, Number


class EngineConfig(Fields):
    """The ``engine`` section: where the clients run. It never changes the result."""

    name: str
    """Which engine."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models and images live; auto takes a GPU if there is one."""


class LocalConfig(EngineConfig):
    """In this process, on threads: the fastest on one machine with one GPU or a few cores."""

    name: Literal["local"] = "local"
    workers: PositiveInt | None = None
    """Clients that run at once; null is one on a GPU and one a core on a CPU."""


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


ENGINES: dict[str, type[EngineConfig]] = {"local": LocalConfig, "flower": FlowerConfig}
EngineChoice = Choice(ENGINES)
