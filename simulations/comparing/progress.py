"""The progress display of a comparison's runs."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import Progress, TaskID

from fedssl.base.printable import printable
from simulations.comparing.worker import RunningElsewhere, Task
from simulations.progress.columns import progress_columns
from simulations.progress.display import describe


class RunsDisplay(Protocol):
    """Shows the events of a comparison's runs."""

    def running(self, rounds: int, runs: int, done: int) -> AbstractContextManager[None]:
        """Show the progress of ``runs`` runs, ``done`` of them finished, with ``rounds`` to go."""

    def on_start(self, task: Task) -> None:
        """Show that a run starts."""

    def on_row(self, task: Task, row: Mapping[str, object]) -> None:
        """Show a finished round's row."""

    def on_end(self, task: Task, error: str | None) -> None:
        """Show that a run ended."""

    def on_message(self, text: str) -> None:
        """Show a message, such as a caution."""


class NoDisplay:
    """Shows nothing."""

    @contextmanager
    def running(self, rounds: int, runs: int, done: int) -> Iterator[None]:
        """Do nothing."""
        yield

    def on_start(self, task: Task) -> None:
        """Do nothing."""

    def on_row(self, task: Task, row: Mapping[str, object]) -> None:
        """Do nothing."""

    def on_end(self, task: Task, error: str | None) -> None:
        """Do nothing."""

    def on_message(self, text: str) -> None:
        """Do nothing."""


class RunLines:
    """A plain line for every run: for logs."""

    def __init__(self, console: Console):
        self._console = console
        self._began: dict[str, float] = {}
        self._last: dict[str, str] = {}
        self._runs = self._ended = 0

    @contextmanager
    def running(self, rounds: int, runs: int, done: int) -> Iterator[None]:
        """Print the number of runs, and how many were finished before."""
        self._runs, self._ended = runs, done
        before = f", {done} of them done before" if done else ""
        self._console.print(f"{runs} runs{before}", soft_wrap=True)
        yield

    def on_start(self, task: Task) -> None:
        """Note the time at which a run starts."""
        self._began[task.name] = time.perf_counter()

    def on_row(self, task: Task, row: Mapping[str, object]) -> None:
        """Keep the run's newest metrics."""
        self._last[task.name] = describe({**row, "cohort": []})

    def on_end(self, task: Task, error: str | None) -> None:
        """Print the run's last metrics, or why it failed."""
        self._ended += 1
        seconds = time.perf_counter() - self._began[task.name]
        result = (
            f"failed: {printable(error)}" if error else self._last.get(task.name, "done before")
        )
        if isinstance(error, RunningElsewhere):
            result = f"skipped: {printable(error)}"
        self._console.print(
            f"{self._ended}/{self._runs} {task.name}: {result}  {seconds:.0f} s",
            markup=False,
            emoji=False,
            soft_wrap=True,
        )

    def on_message(self, text: str) -> None:
        """Print the message."""
        self._console.print(text, markup=False, soft_wrap=True)


class RunBars(RunLines):
    """A bar over the rounds of all runs, and one for each run in progress."""

    def __init__(self, console: Console):
        super().__init__(console)
        self._progress = Progress(
            *progress_columns("{task.description}"),
            console=console,
            speed_estimate_period=600,
        )
        self._total = TaskID(0)
        self._bars: dict[str, TaskID] = {}

    @contextmanager
    def running(self, rounds: int, runs: int, done: int) -> Iterator[None]:
        """Show the bars."""
        with super().running(rounds, runs, done), self._progress as progress:
            self._total = progress.add_task("rounds of all runs", total=rounds)
            yield

    def on_start(self, task: Task) -> None:
        """Add the run's bar."""
        super().on_start(task)
        name = printable(task.name, 80)
        self._bars[task.name] = self._progress.add_task(name, total=task.experiment.rounds)

    def on_row(self, task: Task, row: Mapping[str, object]) -> None:
        """Advance the run's bar and the bar of all runs."""
        super().on_row(task, row)
        before = self._progress.tasks[self._progress.task_ids.index(self._bars[task.name])]
        now = int(str(row["round"]))
        # A resumed run starts after the rounds that it has.
        self._progress.update(self._total, advance=now - before.completed)
        self._progress.update(self._bars[task.name], completed=now)

    def on_end(self, task: Task, error: str | None) -> None:
        """Remove the run's bar, and print its line above the others."""
        bar = self._bars.pop(task.name)
        before = self._progress.tasks[self._progress.task_ids.index(bar)]
        self._progress.update(self._total, advance=(before.total or 0) - before.completed)
        self._progress.remove_task(bar)
        super().on_end(task, error)
