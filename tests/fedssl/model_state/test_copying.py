import pytest
import torch

from fedssl.modalities.image.encoders import build_encoder
from fedssl.model_state import (
    clone,
    copy_into,
    federated_state,
    private_tensors,
    rebind_tensors,
)
from fedssl.objectives import Objective
from fedssl.objectives.byol import BYOL


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
    own = clone(private_tensors(objective))
    given = {n: t + 1 for n, t in before.items()}
    with pytest.raises(ValueError, match="only one of them has"):
        rebind_tensors(objective, given, {})
    with pytest.raises(ValueError, match="extra"):
        rebind_tensors(objective, given | {"extra": torch.ones(1)}, own)
    assert all(torch.equal(t, before[n]) for n, t in federated_state(objective).items())
