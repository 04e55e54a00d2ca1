"""What many tests use: a small example set on disk, a small experiment, and one intra-op thread."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from fedssl.evaluation.parallel import one_thread
from simulations.experiment import Experiment, load_experiment

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


SMALL = """
seed: 3
rounds: 3
participation: 0.5
data: {name: npz, train: train.npz, test: test.npz}
partition: {name: iid, clients: 4}
model: {encoder: convnet, projector: [16, 8]}
objective: {name: byol, predictor_width: 16}
client: {batch_size: 8, lr: 0.05}
strategy: {name: ldawa, warmup_rounds: 1}
engine: {name: local, device: cpu, workers: 2}
"""


@pytest.fixture
def small(tmp_path: Path, write_npz: Callable[..., Path]) -> Callable[..., Experiment]:
    """Load a small BYOL experiment with half of four clients a round."""
    write_npz("train.npz", 48)
    write_npz("test.npz", 24, seed=1)
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return lambda *overrides: load_experiment(path, overrides)


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
