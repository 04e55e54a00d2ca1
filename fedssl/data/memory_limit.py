"""Refuse examples that do not fit into this machine's memory, before allocating any."""

import math
import os
from collections.abc import Sequence


def memory() -> int | None:
    """Return this machine's memory in bytes; None if the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_fits(shape: Sequence[int], what: str) -> None:
    """Raise a ValueError if uint8 arrays of this shape are larger than all memory."""
    needed, there = math.prod(shape), memory()
    if there is not None and needed > there:
        raise ValueError(
            f"{what} would take {needed / 1e9:,.1f} GB, and this machine has {there / 1e9:,.1f}: "
            "give a smaller data.size or data.limit, or data.in_memory: false for files"
        )
