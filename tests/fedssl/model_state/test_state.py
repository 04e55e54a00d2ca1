import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from fedssl.modalities.image.encoders import build_encoder
from fedssl.model_state import (
    clone,
    copy_into,
    count_bytes,
    federated_state,
    floating_buffer_names,
    is_private,
    load_state,
    private_state,
    rebind_tensors,
    save_state,
    tensor_roles,
)
from fedssl.objectives import Objective
from fedssl.objectives.byol import BYOL


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


@pytest.fixture
def objective() -> Objective:
    encoder = build_encoder("convnet", 16)
    return BYOL(encoder, [4], BYOL.Config(predictor_width=4))


def test_an_objective_adopts_memory_and_lets_go_of_its_own(objective: Objective) -> None:
    before = federated_state(objective)
    kept = clone(before)
    given = {n: t + 1 for n, t in before.items()}
    rebind_tensors(objective, given)
    after = federated_state(objective)
    assert all(after[n].data_ptr() == given[n].data_ptr() for n in given)
    assert all(torch.equal(before[n], kept[n]) for n in kept)
    name, parameter = next(iter(objective.named_parameters()))
    parameter.data.zero_()
    assert given[name].count_nonzero() == 0


def test_adopting_rounds_mean_counts_and_converts_types(objective: Objective) -> None:
    given: dict[str, torch.Tensor] = {
        n: t.double() + 0.7 for n, t in federated_state(objective).items()
    }
    rebind_tensors(objective, given)
    after = federated_state(objective)
    counter = next(n for n in after if n.endswith("num_batches_tracked"))
    assert after[counter].dtype == torch.int64
    assert after[counter].item() == 1
    assert all(t.dtype == torch.float32 for n, t in after.items() if t.is_floating_point())


def test_memory_that_is_not_aligned_is_copied(objective: Objective) -> None:
    given = {n: t + 1 for n, t in federated_state(objective).items()}
    name = "encoder.layers.0.weight"
    given[name] = torch.cat([torch.zeros(1), given[name].flatten()])[1:].view_as(given[name])
    rebind_tensors(objective, given)
    after = federated_state(objective)
    assert torch.equal(after[name], given[name])
    assert all(t.data_ptr() % 64 == 0 for t in after.values())


def test_adopting_another_model_is_refused_and_changes_nothing(objective: Objective) -> None:
    before = clone(federated_state(objective))
    own = clone(private_state(objective))
    given = {n: t + 1 for n, t in before.items()}
    with pytest.raises(ValueError, match="only one of them has"):
        rebind_tensors(objective, given, {})
    with pytest.raises(ValueError, match="extra"):
        rebind_tensors(objective, given | {"extra": torch.ones(1)}, own)
    assert all(torch.equal(t, before[n]) for n, t in federated_state(objective).items())


def test_a_models_parts_are_known_by_name() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2)), nn.LayerNorm(2))
    parts = tensor_roles(module)
    assert parts.names == tuple(module.state_dict())
    assert parts.buffers == {"1.0.running_mean", "1.0.running_var"}
    assert parts.batchnorm_names == parts.buffers | {
        "1.0.weight",
        "1.0.bias",
        "1.0.num_batches_tracked",
    }
    assert tensor_roles(nn.BatchNorm1d(2)).batchnorm_names == set(nn.BatchNorm1d(2).state_dict())


def test_floating_buffers_are_batchnorms_statistics() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2))
    assert floating_buffer_names(module) == {"1.running_mean", "1.running_var"}


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
