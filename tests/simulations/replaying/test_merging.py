"""What a merge did to the weights, against hand-made models."""

import math

import pytest
import torch
from torch import Tensor

from simulations.replaying.merging import (
    encoder_weights,
    mean_client_norms,
    model_update,
    norms_restored,
)

NAMES = ["encoder.a", "encoder.b"]


def model(a: list[float], b: float) -> dict[str, Tensor]:
    return {"encoder.a": torch.tensor(a), "encoder.b": torch.tensor([b])}


def test_only_the_encoders_weights_count() -> None:
    state = {
        "encoder.weight": torch.zeros(2),
        "encoder.running_mean": torch.zeros(2),
        "encoder.batches": torch.zeros(2, dtype=torch.int64),
        "projector.weight": torch.zeros(2),
    }
    assert encoder_weights(state, frozenset({"encoder.running_mean"})) == ["encoder.weight"]


def test_norms_are_the_clients_mean_by_examples() -> None:
    clients = [(0, 30, model([3.0, 4.0], 0.0)), (1, 10, model([0.0, 1.0], 2.0))]
    norms, total = mean_client_norms(clients, [*NAMES, "encoder.elsewhere"])
    assert norms == pytest.approx({"encoder.a": (3 * 5 + 1) / 4, "encoder.b": 2 / 4})
    assert total == pytest.approx((3 * 5 + math.sqrt(5)) / 4)


def test_a_step_has_length_norm_and_direction() -> None:
    before, after = model([3.0, 4.0], 0.0), model([3.0, 4.0], 5.0)
    found = model_update(before, after, model([3.0, 5.0], 1.0), NAMES, client_norm=10.0)
    assert found.length == pytest.approx(1.0)
    assert found.norm == pytest.approx(math.sqrt(50) / 10)
    assert found.direction == pytest.approx(1 / math.sqrt(2))


def test_a_merge_that_goes_nowhere_has_no_direction() -> None:
    before = model([3.0, 4.0], 0.0)
    found = model_update(before, before, model([3.0, 5.0], 1.0), NAMES, client_norm=5.0)
    assert (found.length, found.norm) == (0.0, 1.0)
    assert math.isnan(found.direction)


def test_restored_tensors_have_the_clients_norms_and_their_own_direction() -> None:
    merged = model([0.3, 0.4], 0.0)
    restored = norms_restored(merged, {"encoder.a": 5.0, "encoder.b": 1.0})
    torch.testing.assert_close(restored, model([3.0, 4.0], 0.0))
    torch.testing.assert_close(merged, model([0.3, 0.4], 0.0))
