from pathlib import Path

import pytest
import torch

from fedssl.state import (
    copy_into,
    count_bytes,
    floating_buffers,
    is_private,
    load_state,
    save_state,
)


def test_private_names_match_whole_parts() -> None:
    assert is_private("target.encoder.weight", ("target",))
    assert is_private("queue", ("queue",))
    assert not is_private("targets.weight", ("target",))


def test_copy_into_writes_in_place_and_leaves_the_source_alone() -> None:
    target = {"a": torch.zeros(2), "n": torch.tensor(0)}
    kept = target["a"]
    source = {"a": torch.ones(2), "n": torch.tensor(2.7)}
    copy_into(target, source)
    assert kept.tolist() == [1, 1]
    assert target["n"].item() == 3
    assert source["n"].item() == pytest.approx(2.7)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"a": torch.ones(2)}, "only one of them has b"),
        ({"a": torch.ones(2), "b": torch.ones(3)}, r"b is \(3,\) in one and \(1,\)"),
    ],
)
def test_copy_into_refuses_another_model_and_changes_nothing(
    source: dict[str, torch.Tensor], message: str
) -> None:
    target = {"a": torch.zeros(2), "b": torch.zeros(1)}
    with pytest.raises(ValueError, match=message):
        copy_into(target, source)
    assert target["a"].tolist() == [0, 0]


def test_floating_buffers_are_batchnorms_statistics() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2))
    assert floating_buffers(module) == {"1.running_mean", "1.running_var"}


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
