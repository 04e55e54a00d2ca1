import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from strategies.update_norm import clip, update_norm
from tests.tools.strategy_models import State, model


def floats(state: State) -> list[str]:
    return [name for name, tensor in state.items() if tensor.is_floating_point()]


@given(st.integers(0, 99), st.integers(0, 99))
def test_the_norm_is_that_of_all_numbers_side_by_side(one: int, other: int) -> None:
    w, g = model(one), model(other)
    apart = [(w[name].double() - g[name].double()).flatten().tolist() for name in floats(w)]
    naive = math.sqrt(sum(value**2 for values in apart for value in values))
    assert update_norm(w, g) == pytest.approx(naive, rel=1e-12)


@given(st.integers(0, 99), st.floats(0, 1))
def test_a_clipped_update_has_the_length_and_the_direction_asked_for(
    seed: int, share: float
) -> None:
    w, g = model(seed), model(seed + 1)
    clipped = clip(w, g, share)
    assert clipped.keys() == w.keys()
    for name, tensor in w.items():
        if tensor.is_floating_point():
            expected = g[name].double() + share * (tensor.double() - g[name].double())
            torch.testing.assert_close(clipped[name], expected.to(tensor.dtype))
        else:
            assert torch.equal(clipped[name], tensor)


def test_a_clipped_model_of_the_largest_numbers_is_finite() -> None:
    w, g = {"w": torch.full((9,), -3.4e38)}, {"w": torch.full((9,), 3.4e38)}
    norm = update_norm(w, g)
    assert math.isfinite(norm)
    assert clip(w, g, 1 / norm)["w"].isfinite().all()
