import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from fedssl.model_state import (
    count_bytes,
    load_state,
    save_state,
)


def test_files_keep_values_types_and_metadata(tmp_path: Path) -> None:
    state = {"a": torch.randn(3, 4).t(), "n": torch.tensor(7)}
    save_state(tmp_path / "s.safetensors", state, {"about": "this"})
    back, metadata = load_state(tmp_path / "s.safetensors")
    assert torch.equal(back["a"], state["a"])
    assert back["n"].dtype == torch.int64
    assert back["n"].item() == 7
    assert metadata == {"about": "this"}
    assert count_bytes(state) == 12 * 4 + 8
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]


_SHAPES = st.lists(st.integers(0, 4), max_size=3)

_TYPES = st.sampled_from(
    [
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8),
        *(torch.int64, torch.int32, torch.int16, torch.int8),
    ]
)

_NAMED = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(
    shapes=st.dictionaries(_NAMED, st.tuples(_SHAPES, _TYPES), max_size=6),
    metadata=st.dictionaries(_NAMED, st.text(st.characters(exclude_categories=["Cs"])), max_size=1),
)
def test_files_are_those_of_safetensors_and_have_the_checksum_that_is_told(
    tmp_path_factory: pytest.TempPathFactory,
    shapes: dict[str, tuple[list[int], torch.dtype]],
    metadata: dict[str, str],
) -> None:
    draws = torch.Generator().manual_seed(0)
    state = {
        name: torch.randint(0, 100, shape, generator=draws).to(dtype)
        for name, (shape, dtype) in shapes.items()
    }
    path = tmp_path_factory.getbasetemp() / "state.safetensors"
    crc32 = save_state(path, state, metadata)
    assert crc32 == zlib.crc32(path.read_bytes())
    back, told = load_state(path)
    assert told == metadata
    assert back.keys() == state.keys()
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)


def test_tied_and_strided_tensors_are_written_as_what_they_hold(tmp_path: Path) -> None:
    weight = torch.randn(4, 6)
    state = {"a": weight, "b": weight, "c": weight.t(), "d": weight[:, ::2], "e": weight[1]}
    save_state(tmp_path / "s.safetensors", state, {})
    back, _ = load_state(tmp_path / "s.safetensors")
    for name, tensor in state.items():
        assert torch.equal(back[name], tensor)


def test_the_bytes_are_those_that_safetensors_writes(tmp_path: Path) -> None:
    state = {"z.w": torch.randn(3, 5), "a.n": torch.tensor(7), "m.w": torch.randn(2).half()}
    save_state(tmp_path / "s.safetensors", state, {"fedssl": '{"ü": 1}'})
    assert (tmp_path / "s.safetensors").read_bytes() == save(state, {"fedssl": '{"ü": 1}'})
