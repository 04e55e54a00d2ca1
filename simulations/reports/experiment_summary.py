"""A summary of an experiment without training: the resolved config, the model, the partition.

All that is printed is YAML that loads as the same config; what is no part of it is in comments.
"""

import importlib.machinery
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.syntax import Syntax

from fedssl.base.config_file import as_yaml, dump
from fedssl.base.printable import printable
from fedssl.client_rules import ClientRound
from fedssl.client_rules.rule_runner import memory_after
from fedssl.model_state import (
    count_bytes,
    federated_state,
    private_tensors,
    tensor_roles,
    trainable_names,
)
from fedssl.networks.encoder import count_parameters
from fedssl.training.client_memory import ClientMemory
from simulations.record.client_names import short
from simulations.reports import plots
from simulations.settings.experiment import Experiment
from simulations.settings.own_code import dotted_paths
from simulations.setup import notes
from simulations.setup.cohort import draw_cohort
from simulations.setup.prepare import Prepared, prepare
from strategies import build as build_strategy
from strategies.base import build_extra, build_instructions, shared_state

ROWS = 30
"""The most clients that are listed one by one."""


def describe(experiment: Experiment, console: Console) -> Prepared:
    """Print an experiment, and return it prepared, with its partition.

    Raises
    ------
    ConfigError
        The experiment cannot be prepared; see `prepare`.
    """
    _print_lines(console, _imports(experiment))
    prepared = prepare(experiment)
    experiment = prepared.experiment
    _print_yaml(console, dump(experiment))
    train, test = prepared.splits.train, prepared.splits.test
    blueprint = prepared.blueprint
    modality, objective = blueprint.modality, blueprint.build()
    objective.resize(int(np.median(prepared.partition.sizes())))
    cohort = draw_cohort(experiment.seed, 1, prepared.partition.sizes(), experiment.participation)
    if experiment.only_client is not None:
        cohort = [experiment.only_client]
    strategy = build_strategy(experiment.strategy, tensor_roles(objective))
    state = federated_state(objective)
    instructions = build_instructions(strategy, 1, state)
    extra = build_extra(strategy, 1, state)
    sent = (count_bytes(shared_state(strategy, state)) + count_bytes(extra)) / 1e6
    client_round = ClientRound(
        server_round=1,
        round_start=state,
        received_names=[name for name in state if name not in instructions.transmission.local],
        trainable_names=trainable_names(objective),
        roles=tensor_roles(objective),
        extra=extra,
    )
    memory = ClientMemory(
        1,
        {
            name: tensor
            for name, tensor in state.items()
            if name in instructions.transmission.stored_on_client
        },
        memory_after(instructions.build_rules(), client_round, state, state, 1),
    )
    kept = (count_bytes(private_tensors(objective)) + count_bytes(memory.to_private_state())) / 1e6
    lines = [
        f"{modality.noun[1]:<10} {len(train):,} train, {len(test):,} test, {_times(train.shape)}, "
        f"{len(train.class_names)} classes",
        f"model      {count_parameters(objective.encoder):,} parameters in the encoder, "
        f"{count_parameters(objective):,} trained in all, {objective.encoder.features} features",
        f"a round    {len(cohort):,} of {prepared.partition.clients:,} clients, "
        f"{sent:,.1f} MB to each and back" + (f"; {kept:,.1f} MB stay on each" if kept else ""),
    ]
    _print_lines(console, [*lines, *notes.list_notes(prepared)])
    _print_partition(prepared, console)
    return prepared


def describe_views(experiment: Experiment, console: Console) -> Prepared:
    """Print the steps of an experiment's views, and return it prepared, with its partition.

    Raises
    ------
    ConfigError
        The experiment cannot be prepared; see `prepare`.
    """
    _print_lines(console, _imports(experiment))
    prepared = prepare(experiment)
    _print_yaml(console, as_yaml({"views": experiment.model_dump(mode="json")["views"]}))
    blueprint = prepared.blueprint
    views = range(1, blueprint.facts.views + 1)
    shapes = [blueprint.views.spec_of(blueprint.spec, view).shape for view in views]
    _print_lines(console, [f"{blueprint.modality.noun[0]:<10} {_times(blueprint.spec.shape)}"])
    _print_lines(
        console, [f"view {n:<6}{_times(shape)}" for n, shape in zip(views, shapes, strict=True)]
    )
    return prepared


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _imports(experiment: Experiment) -> list[str]:
    """List the modules that the config imports: their code runs before anything is checked."""
    lines = []
    for field, path in dotted_paths(experiment):
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


def _print_lines(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        text = f"# {line}".rstrip()
        console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def draw(prepared: Prepared, path: Path) -> None:
    """Write the picture of the partition as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plots.save(
        plots.partition(
            prepared.counts,
            prepared.classes,
            prepared.partition.names,
            prepared.blueprint.modality.noun[1],
        ),
        path,
    )


def _print_partition(prepared: Prepared, console: Console) -> None:
    classes, sizes = prepared.classes, prepared.partition.sizes()
    noun = prepared.blueprint.modality.noun[1]
    shown = f"{int(sizes.min()):,} to {int(sizes.max()):,} {noun} a client"
    _print_lines(console, [f"partition  {shown}, median {int(np.median(sizes)):,}"])
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
        _print_lines(console, [f"{line}  {', '.join(most)}"])
    if len(sizes) > ROWS:
        _print_lines(console, [f"           … and {len(sizes) - ROWS:,} more clients"])
