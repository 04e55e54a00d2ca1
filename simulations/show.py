"""What a config means, told without training: the resolved config, the model, the partition."""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.syntax import Syntax

from fedssl.config_file import dump
from fedssl.encoders import count_parameters
from fedssl.last_visit import to_remember
from fedssl.local_update import build_objective
from fedssl.state import count_bytes, federated_state, model_parts, private_state
from simulations import notes, plots
from simulations.client_names import short
from simulations.cohort import draw_cohort
from simulations.experiment import Experiment
from simulations.prepare import Prepared, prepare
from strategies import build as build_strategy
from strategies.base import asked_of, shared_state

ROWS = 30
"""The clients that are listed one by one."""


def describe(experiment: Experiment, console: Console) -> Prepared:
    """Print an experiment, and return it with its images shared out.

    Raises
    ------
    ConfigError
        See `prepare`.
    """
    prepared = prepare(experiment)
    experiment = prepared.experiment
    console.print(Syntax(dump(experiment), "yaml", background_color="default", word_wrap=True))
    train, test = prepared.splits.train, prepared.splits.test
    _, channels, height, width = train.images.shape
    objective = build_objective(experiment, width)
    objective.resize(int(np.median(prepared.partition.sizes())))
    cohort = draw_cohort(experiment.seed, 1, prepared.partition.sizes(), experiment.participation)
    if experiment.only_client is not None:
        cohort = [experiment.only_client]
    strategy = build_strategy(experiment.strategy, model_parts(objective))
    state, trained = federated_state(objective), dict(objective.named_parameters())
    sent = count_bytes(shared_state(strategy, state)) / 1e6
    own = to_remember(asked_of(strategy, 1, state), state, trained)
    kept = (count_bytes(private_state(objective)) + count_bytes(own)) / 1e6
    lines = [
        f"images     {len(train):,} train, {len(test):,} test, {channels}×{height}×{width}, "
        f"{len(train.class_names)} classes",
        f"model      {count_parameters(objective.encoder):,} parameters in the encoder, "
        f"{count_parameters(objective):,} trained in all, {objective.encoder.features} features",
        f"a round    {len(cohort):,} of {prepared.partition.clients:,} clients, "
        f"{sent:,.1f} MB to each and back" + (f"; {kept:,.1f} MB stay on each" if kept else ""),
    ]
    console.print("\n".join(lines), markup=False, soft_wrap=True)
    for note in notes.lines(prepared):
        console.print(note, markup=False, soft_wrap=True)
    _print_partition(prepared, console)
    return prepared


def draw(prepared: Prepared, path: Path) -> None:
    """Write the picture of the partition as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plots.save(plots.partition(prepared.counts, prepared.classes, prepared.partition.names), path)


def _print_partition(prepared: Prepared, console: Console) -> None:
    classes, sizes = prepared.classes, prepared.partition.sizes()
    console.print(
        f"partition  {int(sizes.min()):,} to {int(sizes.max()):,} images a client, "
        f"median {int(np.median(sizes)):,}",
        markup=False,
        soft_wrap=True,
    )
    bar = 40 / sizes.max()
    named = [short(name) for name in prepared.partition.names[:ROWS]] or list(map(str, range(ROWS)))
    width = max(10, *map(len, named))
    for client, row in enumerate(prepared.counts.dense(ROWS)):
        most = [
            f"{classes[c]} {row[c] / max(1, sizes[client]):.0%}"
            for c in np.argsort(-row, kind="stable")[:3]
            if row[c]
        ]
        size = sizes[client]
        line = f"{named[client]:>{width}} {size:>7,}  {'█' * max(1, round(size * bar)):<40}"
        console.print(f"{line}  {', '.join(most)}", markup=False, soft_wrap=True)
    if len(sizes) > ROWS:
        console.print(f"           … and {len(sizes) - ROWS:,} more clients", markup=False)
