import gc

import pytest
import torch

from fedssl import memory
from fedssl.state import allocate, clone


@pytest.fixture(autouse=True)
def _none_spare() -> None:
    gc.collect()
    memory.release()


def test_a_block_is_used_again_once_no_tensor_uses_it() -> None:
    first = memory.block(200_000)
    place, view = first.data_ptr(), first[10:20]
    del first
    assert memory.block(200_000).data_ptr() != place
    del view
    assert memory.block(199_000).data_ptr() == place


def test_a_block_that_was_released_is_forgotten_but_not_one_in_use() -> None:
    used = memory.block(100_000).fill_(7)
    memory.block(100_000)
    memory.release()
    assert (used == 7).all()
    assert not any(memory._spare.values())


@pytest.mark.parametrize("size", [1, 63, 64, 70_000])
def test_blocks_are_aligned_as_torch_aligns_its_tensors(size: int) -> None:
    made = memory.block(size)
    assert made.data_ptr() % memory.ALIGNMENT == 0
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
        assert tensor.data_ptr() % memory.ALIGNMENT == 0 or tensor.numel() == 0
        tensor.fill_(number)
    assert [int(t.sum()) for t in made.values()] == [0, 1, 0, 6]
    copies = clone(like)
    assert all(torch.equal(copies[name], tensor) for name, tensor in like.items())
    assert clone({}) == {}


def test_freed_memory_is_kept_or_the_c_library_is_another() -> None:
    memory.keep_freed_memory()
    assert torch.ones(1 << 22).sum() == 1 << 22
