"""Draw and tabulate the runs of docs/results.md.

    python docs/cifar10_small.py runs/cifar10-small docs/cifar10-small.png

reads runs/cifar10-small/STRATEGY-SEED/metrics.jsonl.
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

T_975_2 = 4.303
"""The 97.5 % point of Student's t with 2 degrees of freedom: three seeds."""


def main(folder: Path, picture: Path) -> None:
    """Print a table of the first and last round, and draw the mean and each seed."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    looks = {"fedavg": ("#0072B2", "-", "FedAvg"), "ldawa": ("#D55E00", "--", "L-DAWA")}
    for strategy, (colour, line, name) in looks.items():
        runs = [
            [json.loads(row)["linear_accuracy"] for row in path.read_text().splitlines()]
            for path in sorted(folder.glob(f"{strategy}-*/metrics.jsonl"))
        ]
        accuracy = 100 * np.array(runs)
        for run in accuracy:
            axes.plot(run, color=colour, linestyle=line, linewidth=0.7, alpha=0.5)
        axes.plot(accuracy.mean(axis=0), color=colour, linestyle=line, linewidth=2, label=name)
        for server_round in (0, accuracy.shape[1] - 1):
            values = accuracy[:, server_round]
            half = T_975_2 * values.std(ddof=1) / len(values) ** 0.5
            seeds = ", ".join(f"{v:.1f}" for v in values)
            print(f"{name} round {server_round}: {values.mean():.1f} ± {half:.1f} ({seeds})")
        gain = accuracy[:, -1] - accuracy[:, 0]
        half = T_975_2 * gain.std(ddof=1) / len(gain) ** 0.5
        print(f"{name} gain: {gain.mean():+.1f} ± {half:.1f}")
    axes.set_xlabel("round")
    axes.set_ylabel("linear probe accuracy (%)")
    axes.grid(alpha=0.3)
    axes.legend(title="mean of 3 seeds; thin: each seed")
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
