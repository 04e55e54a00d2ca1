"""Where the memory of models lies: freed memory is reused, and a model is one aligned block.

A new large block costs a page fault every 4 KiB, which takes several times as long as copying into
it (see `docs/performance.md`). CUDA's allocator already reuses memory.
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
"""The alignment of torch's tensors in bytes."""

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Parameters of glibc's ``mallopt``, from ``malloc.h``."""


def keep_freed_memory() -> None:
    """Make the C library keep freed memory: the process holds its peak until it ends.

    Only glibc can do so; with another C library nothing happens.
    """
    mallopt = _glibc("mallopt")
    if mallopt is None:
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    # The arenas of other threads than the main one cannot hold blocks of 64 MB.
    mallopt(_ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Return memory that is free now to the system, after work that is done once and needs much."""
    if trim := _glibc("malloc_trim"):
        trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    # musl has neither mallopt nor malloc_trim.
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


class _Lease(np.ndarray):
    """A block while a tensor uses it; unlike a plain array it can have weak references."""


_GRANULARITY = 1 << 16
"""Block sizes are multiples of it, so that a running sum fits into the block of a model, which has
a few counters more."""
_spare_blocks: defaultdict[int, list[np.ndarray]] = defaultdict(list)


def acquire_block(size: int) -> Tensor:
    """Return uninitialised memory on the CPU, uint8 [size]; a spare block if one has the size.

    A block becomes spare when no tensor uses it. Models have about the same size, so their blocks
    fit again; malloc, which must align them, would find most of them too small by a few bytes.

    Examples
    --------
    >>> acquire_block(10).shape
    torch.Size([10])
    """
    rounded = -(-size // _GRANULARITY) * _GRANULARITY
    spare_blocks = _spare_blocks[rounded]
    try:
        block = spare_blocks.pop()
    except IndexError:
        unaligned = np.empty(rounded + ALIGNMENT, np.uint8)
        start = -unaligned.ctypes.data % ALIGNMENT
        block = unaligned[start : start + rounded]
    lease = block.view(_Lease)
    weakref.finalize(lease, spare_blocks.append, block).atexit = False
    return torch.from_numpy(lease)[:size]


def release_spare_blocks() -> None:
    """Free all blocks that no tensor uses."""
    _spare_blocks.clear()


def allocate(like: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return uninitialised tensors of the same shapes and types, in one block of memory.

    On a CPU the block is reused memory, if there is any (`acquire_block`).
    """
    sizes = _padded_sizes(like.values())
    on_cpu = device.type == "cpu"
    memory = (
        acquire_block(sum(sizes))
        if on_cpu
        else torch.empty(sum(sizes), dtype=torch.uint8, device=device)
    )
    return {
        name: part[: tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        for part, (name, tensor) in zip(torch.split(memory, sizes), like.items(), strict=True)
    }


@torch.no_grad()
def flatten_bytes(state: Mapping[str, Tensor]) -> Tensor:
    """Return a state's bytes as one tensor, uint8 [bytes], laid out as by `allocate`.

    It shares the state's memory if that has this layout, as a client's model has; else it is a
    copy.
    """
    block = _shared_block(state)
    if block is None:
        copies = allocate(state, next(iter(state.values())).device)
        torch._foreach_copy_(list(copies.values()), list(state.values()))
        block = _shared_block(copies)
        assert block is not None
    return block


def _shared_block(state: Mapping[str, Tensor]) -> Tensor | None:
    """Return the block that holds a state's tensors in order; None if their layout is another."""
    filled = [tensor for tensor in state.values() if tensor.numel()]
    if not filled:
        return torch.empty(0, dtype=torch.uint8)
    storage = filled[0].untyped_storage()
    address = begin = filled[0].data_ptr()
    for tensor, size in zip(filled, _padded_sizes(filled), strict=True):
        same_storage = tensor.untyped_storage().data_ptr() == storage.data_ptr()
        if not (same_storage and tensor.is_contiguous() and tensor.data_ptr() == address):
            return None
        address += size
    offset = begin - storage.data_ptr()
    if address - storage.data_ptr() > storage.nbytes():
        return None
    memory: Tensor = torch.empty(0, dtype=torch.uint8, device=filled[0].device)
    return memory.set_(storage, offset, (address - begin,), (1,))


def _padded_sizes(tensors: Iterable[Tensor]) -> list[int]:
    """Return each tensor's bytes in a block, padded so that the next tensor is aligned."""
    return [-(-tensor.nbytes // ALIGNMENT) * ALIGNMENT for tensor in tensors]


def aligned(tensor: Tensor) -> Tensor:
    """Return the tensor, or an aligned copy of one that is not aligned.

    On unaligned memory, as from numpy or a file, kernels may sum in another order.
    """
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor
