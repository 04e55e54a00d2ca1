"""What the start of a run with a million clients costs."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import simulations.server.rounds  # noqa: F401  so that its imports are not measured
from fedssl.data import Dataset, Splits
from simulations import load_experiment, run
from simulations.bench.measurement import Measurement, Target
from simulations.bench.timing import in_fresh_process, peak_above_mb, resident_mb
from simulations.progress.display import QuietDisplay

CONFIG = """
rounds: 1
participation: 0.0001
data: {name: tests.benchmarks.million.load}
partition: {name: iid, clients: 1000000}
model: {encoder: convnet, projector: [16]}
objective: {name: simclr}
client: {batch_size: 8}
evaluation: {limit: {train: 200, test: 200}}
engine: {name: local, device: cpu}
"""


class _Drawn:
    """Images that are nowhere: each is made from its number when it is asked for."""

    def __init__(self, count: int):
        self.shape = torch.Size((count, 3, 32, 32))

    def __getitem__(self, rows: Tensor) -> Tensor:
        return (rows % 256).to(torch.uint8)[:, None, None, None].expand(-1, *self.shape[1:])


def load() -> Splits:
    """Return two million training images and a thousand test images, on demand."""

    def made(count: int) -> Dataset:
        labels = torch.arange(count) % 10
        return Dataset(_Drawn(count), labels, tuple("abcdefghij"))

    return Splits(made(2_000_000), made(1_000))


class _StopsBeforeTraining(QuietDisplay):
    def on_round_start(self, server_round: int, cohort: Sequence[int]) -> None:
        if server_round == 1:
            raise KeyboardInterrupt


def start() -> list[Measurement]:
    """Measure the start of a run, from the call until the first cohort would train."""
    seconds, memory = in_fresh_process(_start)
    what = "start with 1,000,000 clients over 2,000,000 images on demand"
    note = "the whole of `run` up to the first cohort of 100, round 0's probe included"
    return [
        Measurement(f"{what}, time", "s", seconds, target=Target(5, False, unit="s"), note=note),
        Measurement(
            f"{what}, memory", "MB", memory, target=Target(300, False, unit="MB"), note=note
        ),
    ]


def _start() -> tuple[float, float | None]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "million.yaml"
        config.write_text(CONFIG, encoding="utf-8")
        experiment = load_experiment(config)
        before, begin = resident_mb(), time.perf_counter()
        try:
            run(experiment, Path(folder) / "run", display=_StopsBeforeTraining())
        except KeyboardInterrupt:
            seconds, memory = time.perf_counter() - begin, peak_above_mb(before)
    return seconds, memory
