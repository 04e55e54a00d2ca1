"""Keep a small device's training within what it may take."""

import os
import re
import sys
from pathlib import Path


def limit_cores(count: int) -> None:
    """Keep this process, and those that it starts, on so many cores; no bit of a result changes.

    Raises
    ------
    ValueError
        The system cannot, or has fewer.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError(f"--threads = {count}: only Linux can limit them; leave it out")
    allowed = sorted(os.sched_getaffinity(0))
    if count > len(allowed):
        raise ValueError(f"--threads = {count}: there are only {len(allowed)} cores")
    os.sched_setaffinity(0, allowed[:count])


def limit_memory(megabytes: int) -> None:
    """Let this process take no more than so many MB (10⁶ bytes) beyond what it has.

    An update that needs more fails by a MemoryError, or torch's RuntimeError.

    Raises
    ------
    ValueError
        The system cannot.
    """
    if sys.platform != "linux":
        raise ValueError(f"--memory = {megabytes}: only Linux can limit it; leave it out")
    import resource

    status = Path("/proc/self/status").read_text(encoding="ascii")
    data_size = re.search(r"^VmData:\s+(\d+) kB$", status, re.MULTILINE)
    assert data_size
    most = int(data_size[1]) * 1024 + megabytes * 1_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
