import gc

import pytest
import torch

from fedssl.base import allocator
from fedssl.base.allocator import allocate, flatten_bytes
from fedssl.model_state import clone


@pytest.fixture(autouse=True)
def _none_spare() -> None:
    gc.collect()
    allocator.release_spare_blocks()


def test_a_block_is_used_again_once_no_tensor_uses_it() -> None:
    first = allocator.acquire_block(200_000)
    place, view = first.data_ptr(), first[10:20]
    del first
    assert allocator.acquire_block(200_000).data_ptr() != place
    del view
    assert allocator.acquire_block(199_000).data_ptr() == place


def test_a_block_that_was_released_is_forgotten_but_not_one_in_use() -> None:
    used = allocator.acquire_block(100_000).fill_(7)
    allocator.acquire_block(100_000)
    allocator.release_spare_blocks()
    assert (used == 7).all()
    assert not any(allocator._spare_blocks.values())


@pytest.mark.parametrize("size", [1, 63, 64, 70_000])
def test_blocks_are_aligned_as_torch_aligns_its_tensors(size: int) -> None:
    made = allocator.acquire_block(size)
    assert made.data_ptr() % allocator.ALIGNMENT == 0
    assert made.shape == (size,)
    assert made.dtype == torch.uint8


def test_tensors_in_a_block_are_apart_and_keep_shapes_and_types() -> None:
    like = {
        "a": torch.randn(3, 5),
        "n": torch.tensor(7),
        "empty": torch.zeros(0, 4),
        "half": torch.randn(2).half(),
    }
    made = allocate(like, torch.device("cpu"))
    for number, (name, tensor) in enumerate(made.items()):
        assert (tensor.shape, tensor.dtype) == (like[name].shape, like[name].dtype)
        assert tensor.data_ptr() % allocator.ALIGNMENT == 0 or tensor.numel() == 0
        tensor.fill_(number)
    assert [int(t.sum()) for t in made.values()] == [0, 1, 0, 6]
    copies = clone(like)
    assert all(torch.equal(copies[name], tensor) for name, tensor in like.items())
    assert clone({}) == {}


def test_freed_memory_is_kept_or_the_c_library_is_another() -> None:
    allocator.keep_freed_memory()
    assert torch.ones(1 << 22).sum() == 1 << 22


LIKE = {
    "weight": torch.arange(35.0).view(5, 7),
    "none": torch.empty(0, 4),
    "count": torch.tensor(3),
    "double": torch.arange(9, dtype=torch.float64),
}


def test_a_state_that_was_allocated_is_one_block_already() -> None:
    state = clone(LIKE)
    memory = flatten_bytes(state)
    assert memory.data_ptr() == state["weight"].data_ptr()
    memory.zero_()
    assert all(not tensor.any() for tensor in state.values())


@pytest.mark.parametrize(
    "state",
    [
        LIKE,
        dict(reversed(clone(LIKE).items())),
        {name: tensor for name, tensor in clone(LIKE).items() if name != "count"},
        {"turned": torch.arange(35.0).view(5, 7).T},
        # Of one storage and in place, but the last one's room ends with the storage.
        {"short": torch.arange(3.0)},
        {},
    ],
)
def test_any_other_state_is_copied_to_a_block_from_which_it_can_be_read(
    state: dict[str, torch.Tensor],
) -> None:
    memory = flatten_bytes(state)
    if state:
        assert memory.data_ptr() not in [tensor.data_ptr() for tensor in state.values()]
    read = allocate(state, torch.device("cpu"))
    flatten_bytes(read).copy_(memory)
    assert read.keys() == state.keys()
    for name, tensor in read.items():
        assert torch.equal(tensor, state[name])
        assert tensor.dtype == state[name].dtype
