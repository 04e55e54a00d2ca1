"""A long run of tiny clients, some of which answer wrongly: does anything grow?

    python -m tests.soak                # 2,000 rounds of 10 clients, a tenth of the replies faulty
    python -m tests.soak --rounds 200 --out runs/soak

It prints what the process holds (memory, open files, threads) as the rounds go by, and by how much
each grows in 1,000 rounds once it has warmed up; it leaves a picture and a CSV in the run's folder.
"""

import argparse
import csv
import logging
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from flwr.app import Context, Message
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from clients import ClientRuntime, make_client_app
from clients.client_app import read_round
from fedssl.base import allocator
from simulations import load_experiment
from simulations.bench.timing import resident_mb
from simulations.engines.local import LocalGrid
from simulations.progress.display import QuietDisplay
from simulations.record.run_folder import RunFolder
from simulations.server.rounds import run_rounds
from simulations.setup.prepare import prepare
from strategies.messages import arrays_of, config_of, extra_of, metrics_of, to_state
from tests.tools.faulty_clients import FAULTS, SPOILERS, Given

CONFIG = """
seed: 0
rounds: {rounds}
data: {{name: npz, train: examples.npz, test: examples.npz}}
partition: {{name: iid, clients: 10}}
model: {{encoder: tests.tools.faulty_clients.Tiny, projector: [4, 4]}}
objective: {{name: byol, predictor_width: 4}}
client: {{batch_size: 8, lr: 0.02, clip_norm: 1.0}}
strategy: {{name: fedavgm}}
evaluation: {{every: 100}}
engine: {{name: local, device: cpu, workers: 2}}
"""
WARM_UP = 0.2
"""The share of the rounds that no slope is taken of: pools and caches fill."""
NAMES = ("memory, MB", "open files", "threads")


class Sampling(QuietDisplay):
    """Notes what the process holds, a hundred times in all."""

    def __init__(self, rounds: int):
        self.samples: list[tuple[float, ...]] = []
        self.failed: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()
        self._every = max(1, rounds // 100)
        self._bar = iter(track(range(rounds + 1), description="rounds"))

    def on_round_end(self, row: Mapping[str, object]) -> None:
        """Note it, and who failed."""
        next(self._bar)
        reasons = row["failed_reasons"]
        assert isinstance(reasons, dict)
        self.failed[len(reasons)] += 1
        self.reasons.update(str(reason)[:60] for reason in reasons.values())
        number = int(str(row["round"]))
        if number % self._every == 0:
            files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
            held = resident_mb() or 0.0
            self.samples.append((number, held, files, threading.active_count()))


class SomeFaulty:
    """A ClientApp of which a share of the replies is wrong, each time in another way."""

    def __init__(self, runtime: ClientRuntime, share: float):
        self._app = make_client_app(lambda _: runtime)
        self._share = share
        # One that makes room for 400 MB would say nothing of what grows.
        self._faults = [fault for name, fault in {**FAULTS, **SPOILERS}.items() if name != "400 MB"]

    def __call__(self, message: Message, context: Context) -> Message:
        client, server_round = (
            context.node_config["partition-id"],
            read_round(config_of(message.content)),
        )
        draws = random.Random(f"{client} {server_round}")
        reply = self._app(message, context)
        if draws.random() >= self._share or reply.has_error():
            return reply
        content = reply.content
        given = Given(
            to_state(arrays_of(content)), dict(metrics_of(content)), to_state(extra_of(content))
        )
        draws.choice(self._faults)(given)
        spoilt = given.content()
        return Message(spoilt, reply_to=message)


def slopes(samples: list[tuple[float, ...]]) -> list[float]:
    """Return by how much each figure grows in 1,000 rounds, after the warm-up."""
    table = np.asarray(samples)
    late = table[table[:, 0] >= WARM_UP * table[-1, 0]]
    return [float(np.polyfit(late[:, 0] / 1000, late[:, i], 1)[0]) for i in (1, 2, 3)]


def main() -> None:
    """Run it, and show the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--share", type=float, default=0.1, help="of the replies that are faulty")
    parser.add_argument("--out", type=Path, help="the run's folder; default: a temporary one")
    asked = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        draws = np.random.default_rng(0)
        pixels = draws.integers(0, 256, (80, 8, 8, 3)).astype(np.uint8)
        np.savez(home / "examples.npz", images=pixels, labels=np.arange(80) % 4)
        (home / "soak.yaml").write_text(CONFIG.format(rounds=asked.rounds))
        prepared = prepare(load_experiment(home / "soak.yaml"))
        folder = RunFolder(asked.out or home / "run")
        runtime = ClientRuntime(
            prepared.experiment, prepared.splits.train, prepared.partition, torch.device("cpu")
        )
        grid = LocalGrid(SomeFaulty(runtime, asked.share), prepared.partition.clients, 2)
        sampling = Sampling(asked.rounds)
        begin = time.perf_counter()
        try:
            run_rounds(prepared, grid, folder, None, display=sampling)
        finally:
            grid.close()
            allocator.release_spare_blocks()
        show(sampling, time.perf_counter() - begin)
        if asked.out:
            keep(sampling, asked.out)


def show(sampling: Sampling, seconds: float) -> None:
    """Print the figures."""
    console = Console()
    table = Table("round", *NAMES, title=f"what the process holds, {seconds:.0f} s in all")
    for sample in sampling.samples[:: max(1, len(sampling.samples) // 10)]:
        table.add_row(f"{sample[0]:.0f}", f"{sample[1]:.1f}", *(f"{v:.0f}" for v in sample[2:]))
    table.add_section()
    table.add_row("in 1,000", *(f"{slope:+.2f}" for slope in slopes(sampling.samples)))
    console.print(table)
    rounds, clients = sum(sampling.failed.values()), sum(k * n for k, n in sampling.failed.items())
    console.print(f"{clients} replies of {rounds} rounds counted as failed, of these most often")
    for reason, count in sampling.reasons.most_common(8):
        console.print(f"  {count:5d}  {reason}…", markup=False, highlight=False)


def keep(sampling: Sampling, out: Path) -> None:
    """Write the samples, and a picture of them."""
    with (out / "soak.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("round", *NAMES), *sampling.samples])
    figure = Figure(figsize=(8, 6), layout="constrained")
    for place, (axes, name) in enumerate(
        zip(figure.subplots(3, 1, sharex=True), NAMES, strict=True), start=1
    ):
        axes.plot([s[0] for s in sampling.samples], [s[place] for s in sampling.samples])
        axes.set_ylabel(name)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    axes.set_xlabel("round")
    figure.savefig(out / "soak.png", dpi=120)
    print(f"wrote {out / 'soak.csv'} and {out / 'soak.png'}")


if __name__ == "__main__":
    main()
