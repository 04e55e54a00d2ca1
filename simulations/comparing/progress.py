"""What a person sees while the runs of a comparison are made."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import Progress, TaskID

from fedssl.base.printable import printable
from simulations.comparing.worker import Elsewhere, Task
from simulations.progress.columns import progress_columns
from simulations.progress.display import describe


class Watcher(Protocol):
    """Told of everything that happens to the runs."""

    def running(self, rounds: int, runs: int, done: int) -> AbstractContextManager[None]:
        """Show so many runs, of so many rounds in all, some of which were done before."""

    def began(self, task: Task) -> None:
        """Show that a run begins."""

    def advanced(self, task: Task, row: Mapping[str, object]) -> None:
        """Show a finished round's row."""

    def ended(self, task: Task, error: str | None) -> None:
        """Show that a run ended."""

    def said(self, text: str) -> None:
        """Show what else there is to say."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def running(self, rounds: int, runs: int, done: int) -> Iterator[None]:
        """Do nothing."""
        yield

    def began(self, task: Task) -> None:
        """Do nothing."""

    def advanced(self, task: Task, row: Mapping[str, object]) -> None:
        """Do nothing."""

    def ended(self, task: Task, error: str | None) -> None:
        """Do nothing."""

    def said(self, text: str) -> None:
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
        """Say how many there are, and how many were done before."""
        self._runs, self._ended = runs, done
        before = f", {done} of them done before" if done else ""
        self._console.print(f"{runs} runs{before}", soft_wrap=True)
        yield

    def began(self, task: Task) -> None:
        """Start its clock."""
        self._began[task.name] = time.perf_counter()

    def advanced(self, task: Task, row: Mapping[str, object]) -> None:
        """Keep the newest figures."""
        self._last[task.name] = describe({**row, "cohort": []})

    def ended(self, task: Task, error: str | None) -> None:
        """Print the run's last figures, or why it failed."""
        self._ended += 1
        seconds = time.perf_counter() - self._began[task.name]
        told = f"failed: {printable(error)}" if error else self._last.get(task.name, "done before")
        if isinstance(error, Elsewhere):
            told = f"left alone: {printable(error)}"
        self._console.print(
            f"{self._ended}/{self._runs} {task.name}: {told}  {seconds:.0f} s",
            markup=False,
            emoji=False,
            soft_wrap=True,
        )

    def said(self, text: str) -> None:
        """Print it."""
        self._console.print(text, markup=False, soft_wrap=True)


class RunBars(RunLines):
    """A bar over the rounds of all runs, and one for each that is being made."""

    def __init__(self, console: Console):
        super().__init__(console)
        self._progress = Progress(
            *progress_columns("{task.description}"),
            console=console,
            speed_estimate_period=600,
        )
        self._whole = TaskID(0)
        self._bars: dict[str, TaskID] = {}

    @contextmanager
    def running(self, rounds: int, runs: int, done: int) -> Iterator[None]:
        """Show the bars."""
        with super().running(rounds, runs, done), self._progress as progress:
            self._whole = progress.add_task("rounds of all runs", total=rounds)
            yield

    def began(self, task: Task) -> None:
        """Add its bar."""
        super().began(task)
        name = printable(task.name, 80)
        self._bars[task.name] = self._progress.add_task(name, total=task.experiment.rounds)

    def advanced(self, task: Task, row: Mapping[str, object]) -> None:
        """Move its bar, and that of all."""
        super().advanced(task, row)
        before = self._progress.tasks[self._progress.task_ids.index(self._bars[task.name])]
        now = int(str(row["round"]))
        # A run that goes on begins after the rounds that it has.
        self._progress.update(self._whole, advance=now - before.completed)
        self._progress.update(self._bars[task.name], completed=now)

    def ended(self, task: Task, error: str | None) -> None:
        """Remove its bar, and print its line above the others."""
        bar = self._bars.pop(task.name)
        before = self._progress.tasks[self._progress.task_ids.index(bar)]
        self._progress.update(self._whole, advance=(before.total or 0) - before.completed)
        self._progress.remove_task(bar)
        super().ended(task, error)
