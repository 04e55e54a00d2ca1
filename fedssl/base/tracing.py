"""Record spans of time: when each thread did what. By default nothing is recorded.

>>> with record_spans(torch.device("cpu")) as timeline:
...     with span("step"):
...         pass
>>> timeline.spans[0].name
'step'
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch

_NOTHING = nullcontext()
_active: "Timeline | None" = None
"""A global and not a context variable, so that existing threads of a pool also see it."""


class Span(NamedTuple):
    """One thread's work from ``begin`` to ``end``, in nanoseconds of `time.perf_counter_ns`."""

    name: str
    thread: int
    begin: int
    end: int
    args: Mapping[str, int]


class Timeline:
    """The spans of a recording, in the order in which they ended.

    Parameters
    ----------
    device : torch.device
        The device of the work. A GPU works asynchronously, so every span waits for it at its begin
        and its end, which costs some speed. With several workers, a span also waits for the work
        of other threads on the same GPU.
    """

    def __init__(self, device: torch.device):
        self.spans: list[Span] = []
        self.threads: dict[int, str] = {}
        """The names of the threads that have spans, by the thread's identifier."""
        self._device = device

    def now(self) -> int:
        """Wait until the device has finished its work, and return the time in nanoseconds."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter_ns()

    def add(self, name: str, begin: int, args: Mapping[str, int]) -> None:
        """Add a span of this thread from ``begin`` until now; any thread may call it."""
        end = self.now()
        thread = threading.get_ident()
        if thread not in self.threads:
            self.threads[thread] = threading.current_thread().name
        # `list.append` is atomic, so no thread has to wait for a lock.
        self.spans.append(Span(name, thread, begin, end, args))


class _OpenSpan:
    """The context of a span that is being recorded."""

    __slots__ = ("_args", "_begin", "_name", "_timeline")

    def __init__(self, timeline: Timeline, name: str, args: Mapping[str, int]):
        self._timeline = timeline
        self._name = name
        self._args = args

    def __enter__(self) -> None:
        self._begin = self._timeline.now()

    def __exit__(self, *_: object) -> None:
        self._timeline.add(self._name, self._begin, self._args)


def span(name: str, **args: int) -> AbstractContextManager[None]:
    """Return a context that records a span of this thread, if a recording is active.

    Parameters
    ----------
    name : str
        The name of the work, such as ``step``.
    **args : int
        Numbers that identify it, such as the round.
    """
    return _NOTHING if _active is None else _OpenSpan(_active, name, args)


@contextmanager
def record_spans(device: torch.device) -> Iterator[Timeline]:
    """Return a context in which the spans of all threads of this process are recorded.

    Parameters
    ----------
    device : torch.device
        The device of the work; see `Timeline`.

    Raises
    ------
    RuntimeError
        A recording is already active.
    """
    global _active
    if _active is not None:
        raise RuntimeError("a recording is already active: a process can have only one")
    _active = Timeline(device)
    try:
        yield _active
    finally:
        _active = None
