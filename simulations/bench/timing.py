"""Time and memory measurements, in turn with a reference or in a fresh process."""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from simulations.bench.measurement import Measurement, Target

Result = TypeVar("Result")


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of all threads of this process that a piece of work takes, in seconds.

    On shared machines it varies less than wall time.
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
) -> Measurement:
    """Measure two things in turn, several times each.

    Parameters
    ----------
    name, unit, target, note
        As in `Measurement`.
    ours, reference : Callable[[], float]
        Do the work and return the measured value.
    times : int
        The number of pairs to measure.
    warm : bool (default: True)
        Whether to run each once before; useless if each runs in a fresh process.
    """
    if warm:
        ours()
        reference()
    # The order alternates, so that a drift of the machine's speed affects both alike.
    pairs = []
    for turn in range(times):
        if turn % 2:
            second, first = reference(), ours()
        else:
            first, second = ours(), reference()
        pairs.append((first, second))
    values, references = zip(*pairs, strict=True)
    ratios = [value / other for value, other in pairs]
    return Measurement(
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
    """Return half the interquartile range divided by the median; None for one value."""
    if len(values) < 2:
        return None
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle


def in_fresh_process(work: Callable[..., Result], *arguments: Any) -> Result:
    """Run a function in a new process, so that its memory and threads are its own.

    Raises
    ------
    Exception
        The exception of the function, or BrokenProcessPool if the process died.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def peak_mb() -> float | None:
    """Return the peak memory of this process in MB; None on systems other than Linux."""
    return _memory_mb("VmHWM")


def resident_mb() -> float | None:
    """Return the memory of this process in MB (10⁶ bytes); None on systems other than Linux."""
    return _memory_mb("VmRSS")


def peak_above_mb(before: float | None) -> float | None:
    """Return by how many MB the peak exceeds ``before``; None on systems other than Linux."""
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
    """Pin this thread, and those that it starts, to one core if the system can.

    Threads that exchange work over two cores take up to twice the CPU time, depending on what else
    runs on these cores.
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
