"""A small BYOL experiment: half of four clients take part in a round."""

from collections.abc import Callable
from pathlib import Path

LEARNING = """
seed: 3
rounds: 3
data: {name: npz, train: train.npz, test: test.npz}
partition: {name: iid, clients: 4}
model: {encoder: convnet, projector: [16, 8]}
objective: {name: byol, predictor_width: 16}
client: {batch_size: 8, lr: 0.05}
"""
"""What clients need of it."""

WHOLE = f"""{LEARNING}
participation: 0.5
strategy: {{name: ldawa, warmup_rounds: 1}}
engine: {{name: local, device: cpu, workers: 2}}
"""


def write_small(folder: Path, text: str, write_npz: Callable[..., Path]) -> Path:
    """Write its config and its examples, and return the config's path."""
    write_npz("train.npz", 48)
    write_npz("test.npz", 24, seed=1)
    path = folder / "small.yaml"
    path.write_text(text)
    return path
