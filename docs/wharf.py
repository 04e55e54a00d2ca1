"""Make, run and tabulate the study of WHARF in docs/results.md.

    python docs/wharf.py wharf-accelerometer.npz runs/wharf

The file holds `values` (uint8 [total, 3], 0 to 63 for −1.5 g to +1.5 g, 32 Hz), `offsets`,
`labels`, `class_names`, `volunteers` and `volunteer_names`. Runs that are done are not made again.
"""

import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
from scipy.stats import t

from simulations import load_experiment, run

SEEDS = range(5)
FEWEST = 20
"""A class of fewer recordings is left out."""
TEST_SHARE = 0.25
"""Of each volunteer's recordings, where they are drawn within volunteers."""
HELD_OUT = 4
"""How many whole volunteers are held out, drawn by the seed; that of most recordings never is."""
SPLITS = ("within volunteers", "other volunteers")
METHODS = {
    "SimCLR, views simclr": ["objective={name: simclr, temperature: 0.2}", "views=simclr"],
    "SimCLR, views frames": ["objective={name: simclr, temperature: 0.2}", "views=frames"],
    "supervised, views simclr": ["objective={name: supervised}", "views=simclr"],
}
CONFIG = """
rounds: 8
data: {name: series-npz, train: split.npz, length: 256, mean: [31.5], std: [8.0]}
partition: {name: natural, field: volunteer}
model: {encoder: conv1d, projector: [256, 128]}
objective: {name: simclr}
client: {local_epochs: 1, batch_size: 16, optimizer: sgd, lr: 0.05, schedule: cosine}
strategy: {name: fedavg}
evaluation: {every: 8}
engine: {name: local, device: cpu}
"""


def main(source: Path, out: Path) -> None:
    """Write the splits, run what is not there yet, and print a table."""
    for split, seed in product(SPLITS, SEEDS):
        folder = out / f"{split.replace(' ', '-')}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config.yaml").exists():
            write_split(source, folder / "split.npz", split, seed)
            (folder / "config.yaml").write_text(CONFIG)
        for method, overrides in METHODS.items():
            runs = folder / method.replace(", ", "-").replace(" ", "-")
            if not (runs / "summary.json").exists():
                run(load_experiment(folder / "config.yaml", [f"seed={seed}", *overrides]), out=runs)
    print("| test set | encoder | accuracy (%) | balanced accuracy (%) |\n|:--|:--|--:|--:|")
    for split in SPLITS:
        rows: dict[str, list[tuple[float, float]]] = {}
        for seed, method in product(SEEDS, METHODS):
            folder = out / f"{split.replace(' ', '-')}-{seed}"
            runs = folder / method.replace(", ", "-").replace(" ", "-")
            first, last = scores(runs)
            rows.setdefault(method, []).append(last)
            if method == next(iter(METHODS)):
                rows.setdefault("untrained", []).append(first)
        for name, values in rows.items():
            told = " | ".join(interval(np.array(column)) for column in zip(*values, strict=True))
            print(f"| {split} | {name} | {told} |")
        for name in METHODS:
            gain = np.subtract(rows[name], rows["untrained"])
            told = " | ".join(f"{interval(column, '+')}" for column in gain.T)
            print(f"| {split} | {name} − untrained | {told} |")


def write_split(source: Path, target: Path, split: str, seed: int) -> None:
    """Write the training and the test recordings of a seed, as the data set series-npz has them."""
    with np.load(source) as archive:
        data = dict(archive)
    draws = np.random.default_rng([seed, SPLITS.index(split)])
    counts = np.bincount(data["labels"], minlength=len(data["class_names"]))
    kept = np.flatnonzero(counts[data["labels"]] >= FEWEST)
    owners = data["volunteers"]
    tested = np.zeros(len(owners), bool)
    if split == SPLITS[0]:
        for owner in np.unique(owners[kept]):
            own = draws.permutation(kept[owners[kept] == owner])
            tested[own[: round(TEST_SHARE * len(own))]] = True
    else:
        own = np.bincount(owners[kept])
        others = np.setdiff1d(np.unique(owners[kept]), [own.argmax()])
        tested[np.isin(owners, draws.choice(others, HELD_OUT, replace=False))] = True
    arrays = {}
    for name, rows in (("train", kept[~tested[kept]]), ("test", kept[tested[kept]])):
        parts = [data["values"][data["offsets"][n] : data["offsets"][n + 1]] for n in rows]
        arrays[f"{name}_values"] = np.concatenate(parts)
        arrays[f"{name}_offsets"] = np.cumsum([0, *map(len, parts)])
        arrays[f"{name}_labels"] = data["class_names"][data["labels"][rows]]
        arrays[f"{name}_volunteer"] = data["volunteer_names"][owners[rows]]
    np.savez(target, **arrays)


def scores(folder: Path) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return accuracy and balanced accuracy in per cent, untrained and at the end."""
    rows = [json.loads(row) for row in (folder / "metrics.jsonl").read_text().splitlines()]
    with np.load(folder / "predictions.npz") as archive:
        labels = archive["label"]
        found = {name: archive[name] for name in ("untrained", "final")}
    made = []
    for name, row in (("untrained", rows[0]), ("final", rows[-1])):
        right = found[name] == labels
        balanced = np.mean([right[labels == label].mean() for label in np.unique(labels)])
        made.append((100 * row["linear_accuracy"], 100 * float(balanced)))
    return made[0], made[1]


def interval(values: np.ndarray, sign: str = "") -> str:
    """Write a mean over seeds and half of its 95 % t interval."""
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():{sign}.1f} ± {half:.1f}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
