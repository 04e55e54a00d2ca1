"""``fedssl replay`` and ``audit``: one round's replies, merged again."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulations.cli.shared import Device, clear_errors, err, out, print_own_code
from simulations.progress.terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from simulations.replaying import Audit, Replay
    from simulations.replaying.reopened_run import OnProgress
    from simulations.replaying.results import AccuracyDifference

RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)
]
Round = Annotated[int, typer.Option("--round", metavar="N", help="The round, from 1.")]
Strategies = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,…",
        help="The strategies that merge, with their fields in brackets: "
        "`fedavg,ldawa(warmup_rounds=0)`. Default: the run's own strategy.",
        show_default=False,
    ),
]


_UPDATE = ("update", "norm ratio", "cosine")
_OF_PROBES = ("encoder", "linear", "above clients", "over test examples", "kNN", "RankMe")
_HOW_TO_READ = (
    "Difference: points above the first strategy, on the same test examples. Update: the norm of "
    "the encoder's update, divided by the norm of its weights. Norm ratio: the norm of the merged "
    "weights, divided by the clients' mean. Cosine: that of the update and the first strategy's."
)


def replay(
    run_folder: RunFolder,
    server_round: Round,
    strategies: Strategies = None,
    rounds: Annotated[
        int,
        typer.Option(metavar="N", help="The number of further rounds under each strategy."),
    ] = 0,
    device: Device = None,
) -> None:
    """Merge the same replies of one round by several strategies.

    Two runs with different strategies also differ in all their earlier rounds. Here each strategy
    merges the recorded replies of one round of one run, so that only the merge differs. The others
    are compared to the first strategy.

    The rounds up to this one are run again from the seed, with the same bits, but only once. Writes
    `RUN/replays/round-N/`; nothing else in the run's folder changes.

    For example:

        fedssl replay runs/quickstart --round 8 --strategies fedavg,ldawa,median
        fedssl replay runs/quickstart --round 8 --strategies fedavg,ldawa --rounds 3
    """
    with clear_errors():
        from simulations.replaying import replay as merge_again

        print_own_code(run_folder)
        with _progress() as on_progress:
            result = merge_again(
                run_folder, server_round, strategies, rounds, device=device, on_progress=on_progress
            )
        _print(_merges(result))
        out.print(_HOW_TO_READ, style="dim", soft_wrap=True)
        _print_notes_and_files(result)


def audit(
    run_folder: RunFolder,
    server_round: Round,
    strategies: Strategies = None,
    device: Device = None,
) -> None:
    """Probe the encoders before, in and after a round's merge: where is accuracy lost?

    Probes the model that was sent, at most ten clients' encoders, the merged one, and the merged
    one with recalibrated BatchNorm statistics, with its weights scaled to the clients' norms, and
    with both. Writes `RUN/replays/round-N/`, like `fedssl replay`.

    For example:

        fedssl audit runs/quickstart --round 8
        fedssl audit runs/quickstart --round 8 --strategies fedavg,ldawa
    """
    with clear_errors():
        from simulations.replaying import audit as probe_all

        print_own_code(run_folder)
        with _progress() as on_progress:
            result = probe_all(
                run_folder, server_round, strategies, device=device, on_progress=on_progress
            )
        _print(_probes(result))
        _print_notes_and_files(result)


@contextmanager
def _progress() -> "Iterator[OnProgress]":
    """Show the progress: a bar on a terminal, otherwise a few lines."""
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
    """Print a table without cutting a number; a narrower terminal wraps its lines."""
    needed = Terminal(width=sys.maxsize).measure(table).maximum
    Terminal(file=out.file, width=max(out.width, needed)).print(table)


def _print_notes_and_files(result: "Replay | Audit") -> None:
    for note in result.notes:
        out.print(note, markup=False, style="dim", soft_wrap=True)
    for file in (result.file, result.picture):
        out.print(f"wrote {file}", markup=False, soft_wrap=True)


def _merges(result: "Replay") -> "Table":
    last = result.merges[0].after[-1]["round"] if result.merges[0].after else None
    after = [] if last is None else [f"round {last}", "difference", "over test examples"]
    table = _table("strategy", "linear", "difference", "over test examples", *_UPDATE, *after)
    for merged in result.merges:
        step = merged.step
        cells = [merged.strategy, _percent(merged.row), *_difference(merged.difference)]
        cells += [f"{step.length:.4f}", f"{step.norm:.4f}", f"{step.direction:.3f}"]
        if after:
            cells += [_percent(merged.after[-1]), *_difference(merged.last_difference)]
        table.add_row(*cells)
    return table


def _difference(result: "AccuracyDifference | None") -> list[str]:
    from simulations.comparing.tables import interval, points

    return [points(result.points), interval((result.low, result.high))] if result else ["–", "–"]


def _probes(result: "Audit") -> "Table":
    from simulations.comparing.tables import interval, points

    table = _table("merged by", *_OF_PROBES)
    table.columns[1].justify = "left"
    before = None
    for probe in result.probes:
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
