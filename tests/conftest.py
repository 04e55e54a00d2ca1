"""What many tests use: small example sets on disk, one intra-op thread, installed packages."""

import os
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from fedssl.base import registry
from fedssl.evaluation.parallel import one_thread
from fedssl.modalities.image import IMAGE
from fedssl.objectives import OBJECTIVES, TERMS
from fedssl.partitions import PARTITIONS

# CI judges the change at hand by the same examples each time; elsewhere new ones are looked for.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(autouse=True)
def no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what only a power failure would show, and slow disks make most of a tiny run."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture
def write_npz(tmp_path: Path) -> Callable[..., Path]:
    """Write `count` random 16×16 examples of three classes that differ in colour."""

    def write(name: str, count: int, seed: int = 0) -> Path:
        draws = np.random.default_rng(seed)
        labels = np.arange(count) % 3
        examples = draws.integers(0, 128, size=(count, 16, 16, 3))
        examples[np.arange(count), :, :, labels] += 100
        path = tmp_path / name
        np.savez(path, images=examples.astype(np.uint8), labels=labels)
        return path

    return write


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write 15 random PNGs of 18×20 of each of three classes."""
    draws = np.random.default_rng(0)
    for name in "abc":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(15):
            pixels = draws.integers(0, 256, (18, 20, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


REGISTRIES = (
    *(OBJECTIVES, TERMS, PARTITIONS),
    *(IMAGE.data_sets, IMAGE.view_steps, IMAGE.view_policies),
)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Have installed packages add entry points: by group, the name and what it leads to."""

    def add(**added: tuple[str, str]) -> None:
        points = [EntryPoint(n, v, f"fedssl.{group}") for group, (n, v) in added.items()]
        monkeypatch.setattr(
            registry, "entry_points", lambda group: EntryPoints(points).select(group=group)
        )
        forget()

    def forget() -> None:
        for found in REGISTRIES:
            vars(found).pop("_added", None)

    yield add
    forget()
