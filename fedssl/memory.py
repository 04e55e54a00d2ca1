"""Reuse freed memory, instead of giving it back to the system and asking anew.

A large block that is new costs a page fault every 4 KiB, several times what copying into it costs:
copies of a model, and the activations of a local step, are then mostly spent on faults
(`docs/performance.md` has the figures). CUDA's allocator reuses by itself; this is for CPUs.
"""

import ctypes
import sys
import weakref
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

ALIGNMENT = 64
"""At which addresses torch begins its tensors, in bytes."""

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""The names of glibc's ``malloc.h``."""


def keep_freed_memory() -> None:
    """Tell the C library to reuse what is freed; the process keeps its peak until it ends.

    It does nothing where the C library is not glibc.
    """
    mallopt = _glibc("mallopt")
    if mallopt is None:
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    # The arenas of other threads than the main one cannot hold blocks of 64 MB.
    mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Give the system the memory that is free now: after what is done once and needs much."""
    if trim := _glibc("malloc_trim"):
        trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    # musl has neither mallopt nor malloc_trim.
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


class _Lease(np.ndarray):
    """A block while a tensor refers to it; unlike a plain array it can be referred to weakly."""


_STEP = 1 << 16
"""Blocks are multiples of so many bytes, so that running sums fit where a model with its few
counters was."""
_spare: defaultdict[int, list[np.ndarray]] = defaultdict(list)


def block(size: int) -> Tensor:
    """Return uint8 [size] on the CPU: memory that was returned and that no tensor uses any more.

    Models are all of about one size, so their blocks fit again; malloc, which has to align them,
    would find most of them too small by a few bytes.
    """
    rounded = -(-size // _STEP) * _STEP
    spare = _spare[rounded]
    try:
        memory = spare.pop()
    except IndexError:
        whole = np.empty(rounded + ALIGNMENT, np.uint8)
        start = -whole.ctypes.data % ALIGNMENT
        memory = whole[start : start + rounded]
    lease = memory.view(_Lease)
    weakref.finalize(lease, spare.append, memory).atexit = False
    return torch.from_numpy(lease)[:size]


def release() -> None:
    """Let go of all blocks that no tensor uses."""
    _spare.clear()
