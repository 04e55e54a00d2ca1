"""Use all cores without letting their number change a bit of the result."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def one_thread() -> Iterator[None]:
    """Let each operation use a single thread, so that sums have one order on every machine.

    The number is a default of the process: threads that start meanwhile get it too. It is restored
    afterwards.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def map_chunks(
    work: Callable[[slice], Tensor], count: int, size: int, device: torch.device
) -> Tensor:
    """Concatenate ``work(rows)`` over chunks of ``size`` rows out of ``count``.

    On a CPU the chunks run side by side, each in one thread: their number and sizes, and so the
    result, do not depend on the cores.
    """
    chunks = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    if device.type != "cpu":
        return torch.cat([work(rows) for rows in chunks])
    with one_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
        return torch.cat(list(pool.map(work, chunks)))
