"""What a config means, told without training: the resolved config, the model, the partition.

All that is printed is YAML that loads as the same config; what is no part of it is in comments.
"""

import importlib.machinery
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.syntax import Syntax

from fedssl.config_file import as_yaml, dump
from fedssl.encoders import count_parameters
from fedssl.last_visit import to_remember
from fedssl.libraries import is_of_library
from fedssl.local_update import build_objective
from fedssl.printable import printable
from fedssl.state import count_bytes, federated_state, model_parts, private_state
from fedssl.views import Views
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
    _say(console, _imports(experiment))
    prepared = prepare(experiment)
    experiment = prepared.experiment
    _print_yaml(console, dump(experiment))
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
    _say(console, [*lines, *notes.lines(prepared)])
    _print_partition(prepared, console)
    return prepared


def describe_views(experiment: Experiment, console: Console) -> Prepared:
    """Print the steps of an experiment's views, and return it with its images shared out.

    Raises
    ------
    ConfigError
        See `prepare`.
    """
    _say(console, _imports(experiment))
    prepared = prepare(experiment)
    _print_yaml(console, as_yaml({"views": experiment.model_dump(mode="json")["views"]}))
    size = prepared.splits.train.images.shape[-2:]
    count = build_objective(prepared.experiment, size[-1]).views_in_all
    recipe = Views(experiment.views, experiment.data.mean, experiment.data.std)
    sizes = [recipe.size_of((size[0], size[1]), view) for view in range(1, count + 1)]
    _say(console, [f"image      {size[0]}×{size[1]} pixels"])
    _say(console, [f"view {n:<6}{h}×{w} pixels" for n, (h, w) in enumerate(sizes, start=1)])
    return prepared


def _imports(experiment: Experiment) -> list[str]:
    """Tell which modules the config has imported: their code runs before anything is checked."""
    named = {
        "data.name": experiment.data.name,
        "model.encoder": experiment.model.encoder,
        "objective.name": experiment.objective.name,
        "strategy.name": experiment.strategy.name,
    }
    lines = []
    for field, path in named.items():
        if "." in path and not is_of_library(path):
            module = path.rpartition(".")[0]
            top = module.partition(".")[0]
            spec = importlib.machinery.PathFinder.find_spec(top, sys.path)
            place = spec.origin if spec and spec.origin else "not found"
            lines.append(f"imports    {printable(module, 80)} ({printable(place)}), by {field}")
    return lines


def _print_yaml(console: Console, text: str) -> None:
    if console.is_terminal:
        console.print(Syntax(text, "yaml", background_color="default", word_wrap=True))
    else:
        console.print(text, end="", markup=False, highlight=False, emoji=False, soft_wrap=True)


def _say(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        text = f"# {line}".rstrip()
        console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def draw(prepared: Prepared, path: Path) -> None:
    """Write the picture of the partition as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plots.save(plots.partition(prepared.counts, prepared.classes, prepared.partition.names), path)


def _print_partition(prepared: Prepared, console: Console) -> None:
    classes, sizes = prepared.classes, prepared.partition.sizes()
    shown = f"{int(sizes.min()):,} to {int(sizes.max()):,} images a client"
    _say(console, [f"partition  {shown}, median {int(np.median(sizes)):,}"])
    bar = 40 / sizes.max()
    named = [short(name) for name in prepared.partition.names[:ROWS]] or list(map(str, range(ROWS)))
    width = max(10, *map(len, named))
    for client, row in enumerate(prepared.counts.dense(ROWS)):
        most = [
            f"{printable(classes[c], 40)} {row[c] / max(1, sizes[client]):.0%}"
            for c in np.argsort(-row, kind="stable")[:3]
            if row[c]
        ]
        size = sizes[client]
        line = f"{named[client]:>{width}} {size:>7,}  {'█' * max(1, round(size * bar)):<40}"
        _say(console, [f"{line}  {', '.join(most)}"])
    if len(sizes) > ROWS:
        _say(console, [f"           … and {len(sizes) - ROWS:,} more clients"])
