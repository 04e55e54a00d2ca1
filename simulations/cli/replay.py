"""``fedssl replay`` and ``audit``: one round's replies, merged again."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulations.cli.shared import Device, clear_errors, err, out, say_own_code
from simulations.progress.terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from simulations.replaying import Audit, Replay
    from simulations.replaying.reopened_run import Told
    from simulations.replaying.results import AccuracyDifference

RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)
]
Round = Annotated[int, typer.Option("--round", metavar="N", help="Which round, from 1.")]
Strategies = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,…",
        help="Who merges, fields of its own in brackets: `fedavg,ldawa(warmup_rounds=0)`. "
        "Default: the run's own strategy.",
        show_default=False,
    ),
]


_STEP = ("step", "norm", "direction")
_OF_PROBES = ("encoder", "linear", "above clients", "over test examples", "kNN", "RankMe")
_HOW_TO_READ = (
    "Difference: points above the first strategy, on the same test examples. Step: how far the "
    "merge moved the encoder's weights, as a share of them. Norm: their length, by the clients' "
    "mean. Direction: the cosine of the step with the first strategy's."
)


def replay(
    run_folder: RunFolder,
    server_round: Round,
    strategies: Strategies = None,
    rounds: Annotated[
        int,
        typer.Option(metavar="N", help="Go on for so many rounds under each strategy."),
    ] = 0,
    device: Device = None,
) -> None:
    """Let several strategies merge the same replies of one round.

    Runs of two strategies differ in all that happened before. Here the clients' replies of one
    round of one run are kept, and each strategy merges these: what differs is the merge alone. The
    first strategy is whom the others are compared to.

    The rounds before it are made again from the seed, with the same bits, once. Writes
    `RUN/replays/round-N/`; nothing else in the run's folder changes.

    For example:

        fedssl replay runs/quickstart --round 8 --strategies fedavg,ldawa,median
        fedssl replay runs/quickstart --round 8 --strategies fedavg,ldawa --rounds 3
    """
    with clear_errors():
        from simulations.replaying import replay as merge_again

        say_own_code(run_folder)
        with _progress() as told:
            found = merge_again(
                run_folder, server_round, strategies, rounds, device=device, told=told
            )
        _print(_merges(found))
        out.print(_HOW_TO_READ, style="dim", soft_wrap=True)
        _say(found)


def audit(
    run_folder: RunFolder,
    server_round: Round,
    strategies: Strategies = None,
    device: Device = None,
) -> None:
    """Probe what goes into a round's merge and what comes out: where is accuracy lost?

    Probes the model that was sent, the clients' encoders (ten at most), the merged one, it with
    BatchNorm's statistics measured anew, it with its weights as long as the clients' were, and with
    both. Writes `RUN/replays/round-N/`, like `fedssl replay`.

    For example:

        fedssl audit runs/quickstart --round 8
        fedssl audit runs/quickstart --round 8 --strategies fedavg,ldawa
    """
    with clear_errors():
        from simulations.replaying import audit as probe_all

        say_own_code(run_folder)
        with _progress() as told:
            found = probe_all(run_folder, server_round, strategies, device=device, told=told)
        _print(_probes(found))
        _say(found)


@contextmanager
def _progress() -> "Iterator[Told]":
    """Show how far a long work is: a bar, or where nobody looks on a few lines."""
    from rich.progress import Progress

    from simulations.progress.columns import progress_columns

    if not err.is_terminal:
        before = ""

        def line(done: int, total: int, text: str) -> None:
            nonlocal before
            if text != before:
                err.print(f"{done}/{total} {text}", markup=False)
            before = text

        yield line
        return
    columns = progress_columns(after="{task.description}", time_left=False)
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("loading the run", total=None)
        yield lambda done, total, text: progress.update(
            task, completed=done, total=total, description=text
        )


def _print(table: "Table") -> None:
    """Print a table with no figure cut; a terminal that is narrower wraps its lines."""
    needed = Terminal(width=sys.maxsize).measure(table).maximum
    Terminal(file=out.file, width=max(out.width, needed)).print(table)


def _say(found: "Replay | Audit") -> None:
    for note in found.notes:
        out.print(note, markup=False, style="dim", soft_wrap=True)
    for file in (found.file, found.picture):
        out.print(f"wrote {file}", markup=False, soft_wrap=True)


def _merges(found: "Replay") -> "Table":
    last = found.merges[0].after[-1]["round"] if found.merges[0].after else None
    after = [] if last is None else [f"round {last}", "difference", "over test examples"]
    table = _table("strategy", "linear", "difference", "over test examples", *_STEP, *after)
    for merged in found.merges:
        step = merged.step
        cells = [merged.strategy, _percent(merged.row), *_apart(merged.difference)]
        cells += [f"{step.length:.4f}", f"{step.norm:.4f}", f"{step.direction:.3f}"]
        if after:
            cells += [_percent(merged.after[-1]), *_apart(merged.last_difference)]
        table.add_row(*cells)
    return table


def _apart(found: "AccuracyDifference | None") -> list[str]:
    from simulations.comparing.tables import interval, points

    return [points(found.points), interval((found.low, found.high))] if found else ["–", "–"]


def _probes(found: "Audit") -> "Table":
    from simulations.comparing.tables import interval, points

    table = _table("merged by", *_OF_PROBES)
    table.columns[1].justify = "left"
    before = None
    for probe in found.probes:
        table.add_row(
            "" if probe.strategy == before else probe.strategy,
            probe.encoder,
            _percent({"linear_accuracy": probe.linear_accuracy}),
            points(probe.above_clients),
            interval(probe.examples),
            f"{100 * probe.knn_accuracy:.1f} %",
            f"{probe.rankme:.1f}",
        )
        before = probe.strategy
    return table


def _table(first: str, *others: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _percent(row: Mapping[str, float]) -> str:
    accuracy = row.get("linear_accuracy")
    return "–" if accuracy is None else f"{100 * accuracy:.1f} %"
