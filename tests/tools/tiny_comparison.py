"""The experiment that small comparisons are made of, and one such comparison."""

from pathlib import Path

import numpy as np

TINY = """
seed: 3
rounds: 2
data: {name: npz, train: train.npz, test: test.npz}
partition: {name: dirichlet, clients: 2, alpha: 1.0}
model: {encoder: convnet, projector: [8]}
objective: {name: simclr}
client: {batch_size: 8, lr: 0.05}
evaluation: {l2: 1.0}
engine: {name: local, device: cpu, workers: 2}
"""


FAILS = "tests.tools.failing_strategies.Fails"
GRID = [
    *("--strategies", f"fedavg,ldawa(warmup_rounds=0),{FAILS}", "--seeds", "2"),
    *("--vary", "partition.alpha=0.5,100", "--references", "central,local-only"),
]


def write_tiny_examples(folder: Path) -> None:
    for name, count, seed in (("train", 30, 0), ("test", 15, 1)):
        draws = np.random.default_rng(seed)
        labels = np.arange(count) % 3
        examples = draws.integers(0, 128, size=(count, 8, 8, 3))
        examples[np.arange(count), :, :, labels] += 60
        np.savez(folder / f"{name}.npz", images=examples.astype(np.uint8), labels=labels)
