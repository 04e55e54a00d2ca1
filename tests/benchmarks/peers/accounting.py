"""CPU time of a whole process tree, as Linux accounts for it, and the end of its processes.

`resource` is no help here: its children's times are those of children that have ended.
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def missing() -> str | None:
    """Return why nothing can be accounted for here; None where it can."""
    if (PROC / "self/status").exists():
        return None
    return "reads /proc, which only Linux has"


def tree_cpu_seconds() -> dict[int, float]:
    """Return the CPU seconds of this process and all its descendants by process, to 10 ms.

    User and system time; each's includes that of the children that it has waited for, so the sum
    loses nothing when a process ends.
    """
    seconds: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            process, parent = int(folder.name), int(fields[1])
            children.setdefault(parent, []).append(process)
            seconds[process] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    tree: dict[int, float] = {}
    waiting = [os.getpid()]
    while waiting:
        process = waiting.pop()
        tree[process] = seconds[process]
        waiting += children.get(process, [])
    return tree


def end(processes: Iterable[int], seconds: float = 20.0) -> None:
    """Wait until processes that are ending have ended; kill those that take too long."""
    left = list(processes)
    deadline = time.monotonic() + seconds
    while left := [process for process in left if _stat(process)[:1] not in ([], ["Z"])]:
        if time.monotonic() > deadline:
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        time.sleep(0.02)


def _stat(process: int) -> list[str]:
    """Return what /proc says of a process, from its state on; nothing if it has ended."""
    try:
        text = (PROC / str(process) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The name, in parentheses, may hold anything; all after it are plain words.
    return text[text.rindex(")") + 2 :].split()
