"""Engines: where the clients run. Each is a Flower Grid."""

from typing import Literal

from pydantic import PositiveInt

from fedssl.fields import Choice, Fields


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


ENGINES: dict[str, type[EngineConfig]] = {"local": LocalConfig}
EngineChoice = Choice(ENGINES)
