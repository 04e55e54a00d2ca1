"""fedssl against its peers, each optional: Flower's simulation, Apple's pfl, lightly."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from simulations import load_experiment, run
from simulations.bench.local_work import views_per_cpu_second
from simulations.bench.measurement import Measurement, Target
from simulations.bench.overhead import client_round_seconds, peak_of_rounds
from simulations.bench.setting import images
from simulations.bench.timing import compare, in_fresh_process
from tests.benchmarks.peers import flower, lightly, pfl

CROSS_DEVICE = """
rounds: 3
participation: 0.2
data: {name: npz, train: images.npz, test: images.npz}
partition: {name: iid, clients: 100}
model: {encoder: convnet, projector: [256, 128]}
objective: {name: simclr}
client: {local_epochs: 1, batch_size: 64}
evaluation: {every: 1000, limit: {train: 100, test: 100}}
engine: {name: local, device: cpu}
"""
IMAGES = 2000


def against_flower() -> list[Measurement]:
    """Measure a client-round, and a whole experiment, against Flower's simulation."""
    overhead = compare(
        "client-round without local work, resnet18, against Flower's simulation",
        "CPU-ms",
        lambda: 1000 * in_fresh_process(client_round_seconds, 10, 3),
        lambda: 1000 * in_fresh_process(flower.client_round, "resnet18", 10, 3),
        times=2,
        warm=False,
        note="Flower's simulation, all its processes",
    )
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "cross-device.yaml"
        config.write_text(CROSS_DEVICE, encoding="utf-8")
        shown = images(IMAGES).permute(0, 2, 3, 1).numpy()
        np.savez(Path(folder) / "images.npz", images=shown, labels=np.arange(IMAGES) % 10)
        whole = compare(
            "a cross-device experiment end to end: 100 clients of 20 images, 3 rounds of 20",
            "per hour",
            lambda: 3600 / in_fresh_process(whole_run, str(config)),
            lambda: 3600 / in_fresh_process(flower.end_to_end, str(config))[0],
            times=3,
            warm=False,
            target=Target(5, at_least=True, of_ratio=True),
            note="Flower's simulation with a plain DataLoader client, its start included",
        )
    return [overhead, whole]


def whole_run(config: str) -> float:
    """Return the wall seconds of a run, without the imports."""
    experiment = load_experiment(config)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        run(experiment, Path(folder) / "run")
        return time.perf_counter() - begin


def against_pfl() -> list[Measurement]:
    """Measure CPU time and memory of a client-round against Apple's pfl."""
    cohort, rounds = 20, 5
    memory: list[float] = []

    def theirs() -> float:
        seconds, peak = in_fresh_process(pfl.client_round, "resnet18", cohort, rounds)
        memory.append(peak)
        return 1000 * seconds

    overhead = compare(
        "client-round without local work, resnet18, against pfl",
        "CPU-ms",
        lambda: 1000 * in_fresh_process(client_round_seconds, cohort, rounds),
        theirs,
        times=3,
        warm=False,
        note="pfl's simulated backend",
    )
    ours = in_fresh_process(peak_of_rounds, "fedavg", cohort)
    assert ours is not None
    reference = statistics.median(memory)
    return [
        overhead,
        Measurement(
            f"peak memory above the imports, resnet18, cohort of {cohort}, against pfl",
            "MB",
            ours,
            reference=reference,
            ratio=ours / reference,
            note="pfl's simulated backend",
        ),
    ]


def against_lightly() -> list[Measurement]:
    """Measure views against those of lightly."""
    return [
        compare(
            "SimCLR views of 32×32, one thread, against lightly",
            "views per CPU-s",
            lambda: in_fresh_process(views_per_cpu_second, 10_000),
            lambda: in_fresh_process(lightly.views_per_cpu_second, 1_000),
            times=2,
            warm=False,
            note="lightly's SimCLRTransform",
        )
    ]


PEERS: dict[str, tuple[Callable[[], str | None], Callable[[], list[Measurement]]]] = {
    "flower": (flower.missing, against_flower),
    "pfl": (pfl.missing, against_pfl),
    "lightly": (lightly.missing, against_lightly),
}
"""By name: why a peer cannot be used here, and what is measured against it."""
