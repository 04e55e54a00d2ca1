"""Comparisons that were made up: folders as ``fedssl compare`` leaves them, without training."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from simulations.comparing.folder import ComparisonFolder
from simulations.comparing.plan import Plan, PlannedRun, combinations
from simulations.comparing.results import Results

TENSORS = ("encoder.0.weight", "encoder.1.weight", "encoder.1.running_mean", "projector.0.weight")

Delta = Callable[[PlannedRun, int, int, str], float]
"""Returns δ of a run's round, client and tensor."""


def write_comparison(
    folder: Path,
    strategies: Sequence[str] = ("fedavg", "ldawa"),
    vary: Mapping[str, Sequence[str]] | None = None,
    seeds: int = 2,
    *,
    accuracy: Callable[[PlannedRun], float] = lambda _: 0.5,
    sent: Callable[[PlannedRun], int] = lambda _: 1000,
    delta: Delta = lambda *_: 0.9,
    partition: str = "client,class,examples\n0,cat,5\n0,dog,5\n1,cat,3\n",
    clients: Sequence[int] = (0, 1),
    tensors: Sequence[str] = TENSORS,
    rounds: Sequence[int] = (2, 4),
    done: Callable[[PlannedRun], bool] = lambda _: True,
) -> Results:
    """Write a comparison of runs that have 5 rounds."""
    cells = combinations({name: tuple(values) for name, values in (vary or {}).items()})
    runs = [
        PlannedRun(
            folder="/".join(["runs", name, *(f"{k}={v}" for k, v in cell.items()), f"seed-{seed}"]),
            strategy=name,
            values=cell,
            seed=seed,
            overrides=(),
        )
        for name, cell, seed in product(strategies, cells, range(seeds))
    ]
    plan = Plan(
        config="made.yaml",
        strategies=tuple(strategies),
        baseline=strategies[0],
        vary={name: tuple(values) for name, values in (vary or {}).items()},
        seeds=tuple(range(seeds)),
        family=tuple(strategies[1:]),
        runs=tuple(runs),
    )
    comparison = ComparisonFolder(folder)
    comparison.plan.declare(plan)
    for run in filter(done, runs):
        to = comparison.run(run)
        to.path.mkdir(parents=True)
        to.metrics.write_text(
            "".join(f"{json.dumps(r)}\n" for r in _rows(accuracy(run), sent(run)))
        )
        to.partition.write_text(partition)
        lines = [
            f"{r},{c},{t},{delta(run, r, c, t):.6g}\n"
            for r, c, t in product(rounds, clients, tensors)
        ]
        to.divergence.write_text("".join(["round,client,tensor,divergence\n", *lines]))
        to.config.write_text(yaml.safe_dump({"seed": run.seed}))
        to.summary.write_text("{}")
    return Results(comparison, plan)


def _rows(accuracy: float, sent: int) -> list[dict[str, Any]]:
    costs = {"bytes_up": sent, "bytes_down": sent, "client_seconds": 1.0, "merge_seconds": 0.1}
    rows = [{"round": r, "cohort": [0, 1], "failed": [], "seconds": 1.0, **costs} for r in range(5)]
    rows[0] |= {"bytes_up": 0, "bytes_down": 0}
    for number in (0, 2, 4):
        rows[number]["linear_accuracy"] = 0.3 + (accuracy - 0.3) * number / 4
    return rows
