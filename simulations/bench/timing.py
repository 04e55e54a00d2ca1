"""How the bench measures: in turn with the reference, and in processes of their own."""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from simulations.bench.figure import Figure, Target

Result = TypeVar("Result")


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of all threads of this process that a piece of work takes, in seconds.

    On shared machines it varies less than the time on the wall.
    """
    begin = time.process_time()
    work()
    return time.process_time() - begin


def compare(
    name: str,
    unit: str,
    ours: Callable[[], float],
    reference: Callable[[], float],
    *,
    times: int,
    warm: bool = True,
    target: Target | None = None,
    note: str = "",
) -> Figure:
    """Measure two things in turn, several times each.

    Parameters
    ----------
    name, unit, target, note
        As in `Figure`.
    ours, reference : Callable[[], float]
        Each does its work and returns its figure.
    times : int
        How many pairs are measured.
    warm : bool (default: True)
        Whether each is done once before, unnoted; in vain where each runs in a fresh process.
    """
    if warm:
        ours()
        reference()
    # Taking turns in who is first, so that a drift of the machine's speed hits both alike.
    pairs = []
    for turn in range(times):
        if turn % 2:
            second, first = reference(), ours()
        else:
            first, second = ours(), reference()
        pairs.append((first, second))
    values, references = zip(*pairs, strict=True)
    ratios = [value / beside for value, beside in pairs]
    return Figure(
        name,
        unit,
        value=statistics.median(values),
        reference=statistics.median(references),
        ratio=statistics.median(ratios),
        spread=spread(ratios),
        target=target,
        note=note,
    )


def spread(values: Sequence[float]) -> float | None:
    """Return half the distance of the quartiles as a share of the median; None for one value."""
    if len(values) < 2:
        return None
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle


def in_fresh_process(work: Callable[..., Result], *arguments: Any) -> Result:
    """Run a function in a new process, so that its memory and threads are its own.

    Raises
    ------
    Exception
        Whatever the function raises, or BrokenProcessPool where the process died.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def peak_mb() -> float | None:
    """Return the most memory that this process ever held, in MB; None but on Linux."""
    return _memory_mb("VmHWM")


def resident_mb() -> float | None:
    """Return the memory that this process holds, in MB (10⁶ bytes); None but on Linux."""
    return _memory_mb("VmRSS")


def peak_above_mb(before: float | None) -> float | None:
    """Return by how much the peak exceeds what was held before, in MB; None but on Linux."""
    peak = peak_mb()
    return None if peak is None or before is None else peak - before


def _memory_mb(field: str) -> float | None:
    # Not ru_maxrss, which a new process inherits from the one that started it.
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and those that it starts, on one core, where the system can.

    Threads that hand work to each other over two cores take up to twice the CPU time, depending on
    what else these cores do.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
