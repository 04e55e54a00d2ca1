"""Where models' memory lies: in aligned blocks, and reused when it is freed.

A large block that is new costs a page fault every 4 KiB, several times what copying into it costs:
copies of a model, and the activations of a local step, are then mostly spent on faults
(`docs/performance.md` has the figures). CUDA's allocator reuses by itself; this is for CPUs.
"""

import ctypes
import sys
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

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


def allocate(like: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Make tensors of the same shapes and types, side by side in one block of memory.

    On a CPU the block is one that was used before and is free, if there is one (`block`).
    """
    sizes = _places(like.values())
    on_cpu = device.type == "cpu"
    memory = (
        block(sum(sizes)) if on_cpu else torch.empty(sum(sizes), dtype=torch.uint8, device=device)
    )
    return {
        name: part[: tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        for part, (name, tensor) in zip(torch.split(memory, sizes), like.items(), strict=True)
    }


@torch.no_grad()
def as_block(state: Mapping[str, Tensor]) -> Tensor:
    """Return a state as the one block of memory that `allocate` makes for it, uint8 [bytes].

    It is the state's own memory where that lies so, as a client's model does; else a copy.
    """
    memory = _own_block(state)
    if memory is None:
        copies = allocate(state, next(iter(state.values())).device)
        torch._foreach_copy_(list(copies.values()), list(state.values()))
        memory = _own_block(copies)
        assert memory is not None
    return memory


def _own_block(state: Mapping[str, Tensor]) -> Tensor | None:
    filled = [tensor for tensor in state.values() if tensor.numel()]
    if not filled:
        return torch.empty(0, dtype=torch.uint8)
    storage = filled[0].untyped_storage()
    place = begin = filled[0].data_ptr()
    for tensor, size in zip(filled, _places(filled), strict=True):
        within = tensor.untyped_storage().data_ptr() == storage.data_ptr()
        if not (within and tensor.is_contiguous() and tensor.data_ptr() == place):
            return None
        place += size
    offset = begin - storage.data_ptr()
    if place - storage.data_ptr() > storage.nbytes():
        return None
    memory: Tensor = torch.empty(0, dtype=torch.uint8, device=filled[0].device)
    return memory.set_(storage, offset, (place - begin,), (1,))


def _places(tensors: Iterable[Tensor]) -> list[int]:
    """Return how many bytes each tensor takes in a block: as many as keep the next one aligned."""
    return [-(-tensor.nbytes // ALIGNMENT) * ALIGNMENT for tensor in tensors]


def aligned(tensor: Tensor) -> Tensor:
    """Return the tensor, or a copy where it does not lie as torch's own do.

    The order of a kernel's sums may depend on it, and memory of numpy or of a file lies anywhere.
    """
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor
