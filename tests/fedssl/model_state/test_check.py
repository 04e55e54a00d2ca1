import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedssl.model_state import TensorRoles
from fedssl.model_state.check import first_error, first_not_finite, first_too_large

PARTS = TensorRoles(
    batchnorm_names=frozenset({"bn.running_var", "bn.num_batches_tracked", "bn.weight"})
)


@given(
    st.lists(
        st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 3e38, -3e38]),
        max_size=40,
    ),
    st.integers(1, 3),
)
def test_a_tensor_is_named_exactly_where_an_element_is_not_finite(
    values: list[float], count: int
) -> None:
    state = {f"t{i}": torch.tensor(values[i::count]) for i in range(count)}
    naive = next(
        (n for n, t in state.items() if not all(math.isfinite(v) for v in t.tolist())), None
    )
    assert first_not_finite(state) == naive


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 12_345, -1])
def test_one_bad_weight_among_many_is_found(value: float, place: int) -> None:
    weight = torch.randn(100_001)
    assert first_not_finite({"w": weight}) is None
    weight[place] = value
    assert first_not_finite({"a": torch.zeros(2), "w": weight}) == "w"


def test_infinities_of_both_signs_do_not_cancel() -> None:
    assert first_not_finite({"w": torch.tensor([math.inf, -math.inf])}) == "w"


def test_large_finite_weights_whose_sum_overflows_are_finite() -> None:
    state = {"w": torch.full((8,), 3e38)}
    assert first_not_finite(state) is None
    assert first_too_large(state) == "w"
    assert first_too_large({"w": torch.full((8,), 1e18)}) is None


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("bn.running_var", torch.tensor([1.0, -1e-6]), "is a running variance, but negative"),
        ("bn.running_var", torch.tensor([0.0, 1e10]), None),
        ("bn.weight", torch.tensor([-1.0]), None),
        ("bn.num_batches_tracked", torch.tensor(-1), "is a batch counter, but not"),
        ("bn.num_batches_tracked", torch.tensor(1 << 60), "is a batch counter, but not"),
        ("bn.num_batches_tracked", torch.tensor(7), None),
        ("other.index", torch.tensor([-1]), None),
    ],
)
def test_what_a_tensor_stands_for_bounds_it(
    name: str, value: torch.Tensor, fault: str | None
) -> None:
    found = first_error({name: value}, PARTS)
    assert found is None if fault is None else found is not None and fault in found


def test_an_empty_model_has_no_fault() -> None:
    assert first_error({}, PARTS) is None
    assert first_error({"w": torch.empty(0)}, PARTS) is None
    assert first_too_large({"w": torch.empty(0)}) is None
