"""How far an update moved the encoder."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedssl.client_rules.movement import movement, number_tensor
from fedssl.model_state import State
from tests.tools.client_rules import PARAMETERS, constant_state


def naive_movement(before: State, after: State) -> float:
    total, count = 0.0, 0
    for name in before:
        if name.startswith("encoder.") and name in PARAMETERS and before[name].dim() >= 2:
            pairs = zip(
                before[name].flatten().tolist(), after[name].flatten().tolist(), strict=True
            )
            total += math.sqrt(sum((a - b) ** 2 for a, b in pairs))
            count += 1
    return total / count


tensors = st.lists(st.floats(-5, 5, width=32), min_size=6, max_size=6).map(
    lambda row: torch.tensor(row).reshape(2, 3)
)


@given(tensors, tensors)
def test_movement_is_the_mean_distance_of_the_encoders_weights(one: Tensor, two: Tensor) -> None:
    before = constant_state(1.0) | {"encoder.conv": one}
    after = constant_state(9.0) | {"encoder.conv": two}
    assert movement(before, after, PARAMETERS) == pytest.approx(naive_movement(before, after))
    assert movement(before, before, PARAMETERS) == 0.0


@given(st.floats(allow_nan=False))
def test_a_number_is_remembered_to_the_bit(value: float) -> None:
    assert number_tensor(value).item() == value
