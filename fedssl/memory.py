"""Keep memory that was freed, instead of giving it back to the system and asking anew."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""The names of glibc's ``malloc.h``."""


def keep_freed_memory() -> None:
    """Let the C library reuse freed memory for large tensors, as CUDA's allocator does.

    By default glibc returns large blocks to the system when they are freed. A new one then costs a
    page fault every 4 KiB, five times what copying into it costs, so that copies of a model and the
    activations of a local step are mostly spent on faults (`docs/performance.md` has the figures).
    The process keeps its peak memory until it ends. It does nothing where the C library is another.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # musl has no mallopt.
    if mallopt is None:
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    # The arenas of other threads than the main one cannot hold blocks of 64 MB.
    mallopt(_ARENA_MAX, 1)
