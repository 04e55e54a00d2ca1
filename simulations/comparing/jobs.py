"""Run many tasks, several at once; one that fails does not stop the rest."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import wait

from simulations.comparing.progress import RunsDisplay
from simulations.comparing.worker import RunningElsewhere, Task, Worker, run_task

Note = Callable[[Task, str | None], None]
"""Called with each task that ended here, and its error message or None."""


def run_tasks(tasks: Sequence[Task], jobs: int, display: RunsDisplay, note: Note) -> None:
    """Run all tasks, ``jobs`` at once.

    With one job they run in this process, with more in processes of their own; a process that dies
    is replaced. Ctrl-C (a KeyboardInterrupt) ends them all; every finished round is kept.
    """
    noting = _NotingDisplay(display, note)
    if jobs > 1 and len(tasks) > 1:
        _in_processes(deque(tasks), min(jobs, len(tasks)), noting)
        return
    for task in tasks:
        noting.on_start(task)
        noting.on_end(task, run_task(task, partial(noting.on_row, task)))


class _NotingDisplay:
    """Passes all events to a display, and notes the end of each task."""

    def __init__(self, display: RunsDisplay, note: Note):
        self.on_start = display.on_start
        self.on_row = display.on_row
        self._on_end = display.on_end
        self._note = note

    def on_end(self, task: Task, error: str | None) -> None:
        if not isinstance(error, RunningElsewhere):
            self._note(task, error)
        self._on_end(task, error)


def _in_processes(waiting: deque[Task], jobs: int, display: _NotingDisplay) -> None:
    workers = {Worker() for _ in range(jobs)}
    try:
        for worker in workers:
            _next(worker, waiting, display)
        while busy := {worker.connection: worker for worker in workers if worker.task}:
            for connection in wait(list(busy)):
                worker = next(w for c, w in busy.items() if c is connection)
                task = worker.task
                assert task is not None
                try:
                    event, value = worker.connection.recv()
                except EOFError:
                    display.on_end(task, worker.died())
                    worker.wait()
                    workers.discard(worker)
                    workers.add(worker := Worker())
                    _next(worker, waiting, display)
                    continue
                if event == "row":
                    display.on_row(task, value)
                else:
                    display.on_end(task, value)
                    _next(worker, waiting, display)
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.wait()


def _next(worker: Worker, waiting: deque[Task], display: _NotingDisplay) -> None:
    worker.task = None
    if waiting:
        task = waiting.popleft()
        display.on_start(task)
        worker.begin(task)
