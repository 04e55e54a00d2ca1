"""Limit the cores and the memory of a device's training."""

import os
import re
import sys
from pathlib import Path


def limit_cores(count: int) -> None:
    """Limit this process and its children to a number of cores; the results do not change.

    Raises
    ------
    ValueError
        The system has fewer cores, or cannot limit them.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError(f"--threads = {count}: only Linux can limit them; leave it out")
    allowed = sorted(os.sched_getaffinity(0))
    if count > len(allowed):
        raise ValueError(f"--threads = {count}: there are only {len(allowed)} cores")
    os.sched_setaffinity(0, allowed[:count])


def limit_memory(megabytes: int) -> None:
    """Limit this process to so many MB (10⁶ bytes) in addition to its current memory.

    An update that needs more fails by a MemoryError, or torch's RuntimeError.

    Raises
    ------
    ValueError
        The system cannot limit memory.
    """
    if sys.platform != "linux":
        raise ValueError(f"--memory = {megabytes}: only Linux can limit it; leave it out")
    import resource

    status = Path("/proc/self/status").read_text(encoding="ascii")
    data_size = re.search(r"^VmData:\s+(\d+) kB$", status, re.MULTILINE)
    assert data_size
    max_bytes = int(data_size[1]) * 1024 + megabytes * 1_000_000
    resource.setrlimit(
        resource.RLIMIT_DATA, (max_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1])
    )
