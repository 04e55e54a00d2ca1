"""Displays of a running experiment: live progress bars, plain lines, or nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import Progress, TaskID

from fedssl.base.printable import printable, printable_message
from simulations.progress.columns import progress_columns
from simulations.progress.profiling import Rows, table
from simulations.record.client_result import ClientResult
from simulations.record.metric_names import extra_metrics, format_metric, metric_label
from simulations.settings.experiment import Experiment


class Display(Protocol):
    """A display of a run: its methods are called with everything that happens in the run.

    `QuietDisplay` shows nothing; inherit from it to write a display of your own.
    """

    def show_run(self, experiment: Experiment, first_round: int) -> AbstractContextManager[None]:
        """Show the run while its rounds, from ``first_round``, are run."""

    def on_round_start(self, server_round: int, cohort: Sequence[int]) -> None:
        """Show that a round begins with this cohort."""

    def on_client_result(self, result: ClientResult) -> None:
        """Show the result of one client, which may have failed."""

    def on_round_end(self, row: Mapping[str, object]) -> None:
        """Show the metrics of a finished round, a row of ``metrics.jsonl``."""

    def on_profile(self, rows: Rows) -> None:
        """Show how the time of the rounds divides into parts, once they have ended."""

    def on_message(self, text: str) -> None:
        """Show a message of the engine or the run, one or more sentences."""


class QuietDisplay:
    """A display that shows nothing."""

    @contextmanager
    def show_run(self, experiment: Experiment, first_round: int) -> Iterator[None]:
        """Do nothing."""
        yield

    def on_round_start(self, server_round: int, cohort: Sequence[int]) -> None:
        """Do nothing."""

    def on_client_result(self, result: ClientResult) -> None:
        """Do nothing."""

    def on_round_end(self, row: Mapping[str, object]) -> None:
        """Do nothing."""

    def on_profile(self, rows: Rows) -> None:
        """Do nothing."""

    def on_message(self, text: str) -> None:
        """Do nothing."""


class LineDisplay:
    """A display that prints a line for every round and every failure, such as for a log."""

    def __init__(self, console: Console):
        self._console = console
        self._rounds = 0

    @contextmanager
    def show_run(self, experiment: Experiment, first_round: int) -> Iterator[None]:
        """Print which rounds are coming."""
        self._rounds = experiment.rounds
        if 0 < first_round <= self._rounds:
            self._console.print(f"going on with round {first_round} of {self._rounds}")
        yield

    def on_round_start(self, server_round: int, cohort: Sequence[int]) -> None:
        """Do nothing: the line comes at the end of the round."""

    def on_client_result(self, result: ClientResult) -> None:
        """Print a failure."""
        if result.error is not None:
            text = f"client {result.client} failed: {printable(result.error)}"
            self._console.print(text, markup=False, emoji=False, soft_wrap=True)

    def on_round_end(self, row: Mapping[str, object]) -> None:
        """Print the round's metrics."""
        self._console.print(
            f"round {row['round']}/{self._rounds}: {describe(row)}  {row['seconds']} s",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def on_profile(self, rows: Rows) -> None:
        """Print a table of the rounds and the shares of the parts."""
        self._console.print(table(rows))

    def on_message(self, text: str) -> None:
        """Print the message."""
        text = printable_message(text)
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


class LiveDisplay(LineDisplay):
    """A display of two progress bars: one counts rounds, the other clients of the cohort."""

    def __init__(self, console: Console):
        super().__init__(console)
        self._progress = Progress(
            *progress_columns("{task.description:<8}", "{task.fields[text]}"),
            console=console,
        )
        self._round_bar = TaskID(0)
        self._client_bar = TaskID(0)

    @contextmanager
    def show_run(self, experiment: Experiment, first_round: int) -> Iterator[None]:
        """Show the bars."""
        with super().show_run(experiment, first_round), self._progress as progress:
            # As the lines count: round 0 probes the untrained encoder, and trains nothing.
            self._round_bar = progress.add_task(
                "rounds", total=experiment.rounds, completed=max(0, first_round - 1), text=""
            )
            self._client_bar = progress.add_task("clients", total=None, text="")
            yield

    def on_round_start(self, server_round: int, cohort: Sequence[int]) -> None:
        """Start the clients' bar again for the new cohort."""
        text = (
            f"round {server_round}: training"
            if cohort
            else "round 0: probing the untrained encoder"
        )
        self._progress.reset(self._client_bar, total=len(cohort) or None, text=text)

    def on_client_result(self, result: ClientResult) -> None:
        """Move the clients' bar."""
        super().on_client_result(result)
        text = f"client {result.client}: " + (
            "failed" if result.error else f"loss {result.loss:.3f}, {result.examples} examples"
        )
        self._progress.update(self._client_bar, advance=1, text=text)

    def on_round_end(self, row: Mapping[str, object]) -> None:
        """Print the round's line above the bars, and move the rounds' bar."""
        super().on_round_end(row)
        self._progress.update(self._round_bar, completed=int(str(row["round"])), text="")


def describe(row: Mapping[str, object]) -> str:
    """Return a round's metrics in words.

    >>> describe({"cohort": [0, 2], "train_loss": 5.25, "linear_accuracy": 0.5})
    '2 clients  loss 5.2500  linear 50.0%'
    """
    names = {
        "train_loss": ("loss", "{:.4f}"),
        "linear_accuracy": ("linear", "{:.1%}"),
        "linear_accuracy_recalibrated": ("recalibrated", "{:.1%}"),
        "knn_accuracy": ("kNN", "{:.1%}"),
        "rankme": ("RankMe", "{:.1f}"),
    }
    parts = []
    if cohort := row["cohort"]:
        assert isinstance(cohort, list)
        parts.append(f"{len(cohort)} client" + "s" * (len(cohort) != 1))
    for key, (name, form) in names.items():
        if row.get(key) is not None:
            parts.append(f"{name} {form.format(row[key])}")
    parts += [
        f"{metric_label(key)} {format_metric(key, value)}"
        for key, value in extra_metrics(row).items()
    ]
    return "  ".join(parts)
