"""Spans of time: what each thread did when, noted only while somebody asks for it.

>>> with recording(torch.device("cpu")) as timeline:
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
"""Of the module, not of a context: the threads of a pool that exists already must see it too."""


class Span(NamedTuple):
    """What one thread did from ``begin`` to ``end``, in nanoseconds of `time.perf_counter_ns`."""

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
        Where the work is done. A GPU works on after it was told what to do, so on one every span
        waits for it as it begins and as it ends, which costs some speed. The GPU is shared: with
        several workers, a span also waits for what the other threads had given it to do.
    """

    def __init__(self, device: torch.device):
        self.spans: list[Span] = []
        self.threads: dict[int, str] = {}
        """The name of each thread that has a span, by its identifier."""
        self._device = device

    def now(self) -> int:
        """Return the time in nanoseconds, once the device has done all that it was given."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter_ns()

    def add(self, name: str, begin: int, args: Mapping[str, int]) -> None:
        """Note what this thread did from ``begin`` until now; any thread may call it."""
        end = self.now()
        thread = threading.get_ident()
        if thread not in self.threads:
            self.threads[thread] = threading.current_thread().name
        # Appending to a list is atomic: no lock, for which threads would wait for each other.
        self.spans.append(Span(name, thread, begin, end, args))


class _Recorded:
    """A span under way."""

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
    """Note how long this thread spends in a block, where there is a recording; else do nothing.

    Parameters
    ----------
    name : str
        What the thread does, such as ``step``.
    **args : int
        What tells it from others of its name, such as the round.
    """
    return _NOTHING if _active is None else _Recorded(_active, name, args)


@contextmanager
def recording(device: torch.device) -> Iterator[Timeline]:
    """Record the spans of all threads of this process.

    Parameters
    ----------
    device : torch.device
        Where the work is done; see `Timeline`.

    Raises
    ------
    RuntimeError
        A recording is under way.
    """
    global _active
    if _active is not None:
        raise RuntimeError("a recording is under way: a process can make one at a time")
    _active = Timeline(device)
    try:
        yield _active
    finally:
        _active = None
