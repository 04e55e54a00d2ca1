"""What a person sees while an experiment runs: a live display, plain lines, or nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import Progress, TaskID

from fedssl.base.printable import printable, printable_message
from simulations.progress.columns import progress_columns
from simulations.progress.profiling import Rows, table
from simulations.record.answer import Answer
from simulations.record.metric_names import further, name_of, shown
from simulations.settings.experiment import Experiment


class Display(Protocol):
    """Told of everything that happens in a run."""

    def running(self, experiment: Experiment, first: int) -> AbstractContextManager[None]:
        """Show the run while its rounds, from ``first``, are run."""

    def began(self, server_round: int, cohort: Sequence[int]) -> None:
        """Show that a round begins."""

    def answered(self, answer: Answer) -> None:
        """Show that a client answered."""

    def ended(self, row: Mapping[str, object]) -> None:
        """Show a finished round's row."""

    def profiled(self, rows: Rows) -> None:
        """Show where the time of the rounds went, once they have ended."""

    def said(self, text: str) -> None:
        """Show what the engine has to say."""


class Quiet:
    """Shows nothing."""

    @contextmanager
    def running(self, experiment: Experiment, first: int) -> Iterator[None]:
        """Do nothing."""
        yield

    def began(self, server_round: int, cohort: Sequence[int]) -> None:
        """Do nothing."""

    def answered(self, answer: Answer) -> None:
        """Do nothing."""

    def ended(self, row: Mapping[str, object]) -> None:
        """Do nothing."""

    def profiled(self, rows: Rows) -> None:
        """Do nothing."""

    def said(self, text: str) -> None:
        """Do nothing."""


class Lines:
    """A plain line for every round and every failure: for logs."""

    def __init__(self, console: Console):
        self._console = console
        self._rounds = 0

    @contextmanager
    def running(self, experiment: Experiment, first: int) -> Iterator[None]:
        """Print which rounds are coming."""
        self._rounds = experiment.rounds
        if 0 < first <= self._rounds:
            self._console.print(f"going on with round {first} of {self._rounds}")
        yield

    def began(self, server_round: int, cohort: Sequence[int]) -> None:
        """Do nothing: the line comes at the end of the round."""

    def answered(self, answer: Answer) -> None:
        """Print a failure."""
        if answer.error is not None:
            text = f"client {answer.client} failed: {printable(answer.error)}"
            self._console.print(text, markup=False, emoji=False, soft_wrap=True)

    def ended(self, row: Mapping[str, object]) -> None:
        """Print the round's figures."""
        self._console.print(
            f"round {row['round']}/{self._rounds}: {describe(row)}  {row['seconds']} s",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def profiled(self, rows: Rows) -> None:
        """Print a table of the rounds and the shares of the parts."""
        self._console.print(table(rows))

    def said(self, text: str) -> None:
        """Print it."""
        text = printable_message(text)
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


class Live(Lines):
    """Two bars, the rounds and the cohort's clients, with the newest figures and the time left."""

    def __init__(self, console: Console):
        super().__init__(console)
        self._progress = Progress(
            *progress_columns("{task.description:<8}", "{task.fields[text]}"),
            console=console,
        )
        self._round_bar = TaskID(0)
        self._client_bar = TaskID(0)

    @contextmanager
    def running(self, experiment: Experiment, first: int) -> Iterator[None]:
        """Show the bars."""
        with super().running(experiment, first), self._progress as progress:
            # As the lines count: round 0 probes the untrained encoder, and trains nothing.
            self._round_bar = progress.add_task(
                "rounds", total=experiment.rounds, completed=max(0, first - 1), text=""
            )
            self._client_bar = progress.add_task("clients", total=None, text="")
            yield

    def began(self, server_round: int, cohort: Sequence[int]) -> None:
        """Start the clients' bar anew."""
        text = (
            f"round {server_round}: training"
            if cohort
            else "round 0: probing the untrained encoder"
        )
        self._progress.reset(self._client_bar, total=len(cohort) or None, text=text)

    def answered(self, answer: Answer) -> None:
        """Move the clients' bar."""
        super().answered(answer)
        text = f"client {answer.client}: " + (
            "failed" if answer.error else f"loss {answer.loss:.3f}, {answer.examples} examples"
        )
        self._progress.update(self._client_bar, advance=1, text=text)

    def ended(self, row: Mapping[str, object]) -> None:
        """Print the round's line above the bars, and move the rounds' bar."""
        super().ended(row)
        self._progress.update(self._round_bar, completed=int(str(row["round"])), text="")


def describe(row: Mapping[str, object]) -> str:
    """Return a round's figures in words."""
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
    parts += [f"{name_of(key)} {shown(key, value)}" for key, value in further(row).items()]
    return "  ".join(parts)
