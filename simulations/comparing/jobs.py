"""Carry out many runs, some at once; one that fails does not stop the rest."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import wait

from simulations.comparing.progress import Watcher
from simulations.comparing.worker import Elsewhere, Task, Worker, carry_out

Note = Callable[[Task, str | None], None]
"""Called with each run that ended here, and what went wrong or None."""


def execute(tasks: Sequence[Task], jobs: int, watcher: Watcher, note: Note) -> None:
    """Carry out all tasks, ``jobs`` at once.

    One at a time is carried out in this process, more in processes of their own: one that dies is
    replaced. Ctrl-C (a KeyboardInterrupt) ends them all; every finished round is kept.
    """
    watching = _Watching(watcher, note)
    if jobs > 1 and len(tasks) > 1:
        _in_processes(deque(tasks), min(jobs, len(tasks)), watching)
        return
    for task in tasks:
        watching.began(task)
        watching.ended(task, carry_out(task, partial(watching.advanced, task)))


class _Watching:
    """A watcher, and a note of each end."""

    def __init__(self, watcher: Watcher, note: Note):
        self.began = watcher.began
        self.advanced = watcher.advanced
        self._ended = watcher.ended
        self._note = note

    def ended(self, task: Task, error: str | None) -> None:
        if not isinstance(error, Elsewhere):
            self._note(task, error)
        self._ended(task, error)


def _in_processes(waiting: deque[Task], jobs: int, watcher: _Watching) -> None:
    workers = {Worker() for _ in range(jobs)}
    try:
        for worker in workers:
            _next(worker, waiting, watcher)
        while busy := {worker.connection: worker for worker in workers if worker.task}:
            for connection in wait(list(busy)):
                worker = next(w for c, w in busy.items() if c is connection)
                task = worker.task
                assert task is not None
                try:
                    what, told = worker.connection.recv()
                except EOFError:
                    watcher.ended(task, worker.died())
                    worker.wait()
                    workers.discard(worker)
                    workers.add(worker := Worker())
                    _next(worker, waiting, watcher)
                    continue
                if what == "row":
                    watcher.advanced(task, told)
                else:
                    watcher.ended(task, told)
                    _next(worker, waiting, watcher)
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.wait()


def _next(worker: Worker, waiting: deque[Task], watcher: _Watching) -> None:
    worker.task = None
    if waiting:
        task = waiting.popleft()
        watcher.began(task)
        worker.begin(task)
