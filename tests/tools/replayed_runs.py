"""Small runs to replay."""

from pathlib import Path

import numpy as np
import pytest

from simulations import load_experiment, run
from simulations.server import rounds

CONFIG = """
seed: 3
rounds: 3
data: {name: npz, train: train.npz, test: test.npz}
partition: {name: iid, clients: 4}
participation: 0.75
model: {encoder: convnet, projector: [16, 8]}
objective: {name: byol, predictor_width: 16}
client: {batch_size: 8, lr: 0.05}
strategy: {name: fedavg}
evaluation: {every: 2}
engine: {name: local, device: cpu, workers: 1}
"""


def make_run(folder: Path, name: str, *overrides: str) -> Path:
    """Make a run of 4 clients, 3 of which take part in each of 3 rounds."""
    for part, count, seed in (("train", 60, 0), ("test", 24, 1)):
        draws = np.random.default_rng(seed)
        labels = np.arange(count) % 3
        examples = draws.integers(0, 128, size=(count, 16, 16, 3))
        examples[np.arange(count), :, :, labels] += 4
        np.savez(folder / f"{part}.npz", images=examples.astype(np.uint8), labels=labels)
    (folder / "small.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        # Nobody looks at its report, which takes half of its time.
        patch.setattr(rounds, "report", lambda folder: None)
        run(load_experiment(folder / "small.yaml", overrides), folder / name)
    return folder / name
