"""MV-DHEL against the formula."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fedssl.objectives.mv_dhel import MVDHEL, mv_dhel
from tests.tools.objectives import (
    EXTREME,
    gradients_are_finite,
    make_batch,
    make_objective,
    normal,
    three_views,
)


def by_the_formula(views: Tensor, temperature: float) -> float:
    unit = F.normalize(views, dim=2)
    count, examples = unit.shape[:2]

    def energy(view: int, example: int, other_view: int, other: int) -> float:
        return math.exp((unit[view, example] @ unit[other_view, other]).item() / temperature)

    total = 0.0
    for i in range(examples):
        pairs = [energy(a, i, b, i) for a in range(count) for b in range(a + 1, count)]
        total -= math.log(sum(pairs))
        for view in range(count):
            total += math.log(sum(energy(view, i, view, j) for j in range(examples) if j != i))
    return total / examples


@given(st.integers(2, 4), st.integers(2, 5), st.sampled_from([0.07, 0.5, 2.0]), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_it_is_the_formula(count: int, examples: int, temperature: float, seed: int) -> None:
    views = normal(count, examples, 3, seed=seed, dtype=torch.float64)
    expected = by_the_formula(views, temperature)
    assert mv_dhel(views, temperature).item() == pytest.approx(expected, abs=1e-9)


def test_known_values() -> None:
    # Views alike, examples orthogonal: V·log(B − 1) − (log of the pairs' number + 1/τ).
    apart = torch.eye(4).expand(3, -1, -1)
    expected = 3 * math.log(3) - (math.log(3) + 2)
    assert mv_dhel(apart, 0.5).item() == pytest.approx(expected, abs=1e-5)


def test_a_low_temperature_and_many_views_do_not_overflow() -> None:
    # The product of the views' sums would be about e^(8·100).
    views = torch.ones(8, 4, 3).requires_grad_()
    assert gradients_are_finite(mv_dhel(views, 0.01), [views])
    assert mv_dhel(views, 0.01).item() == pytest.approx(
        8 * (math.log(3) + 100) - (math.log(28) + 100), rel=1e-5
    )


def test_gradients() -> None:
    views = normal(3, 4, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: mv_dhel(v, 0.3), [views])


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    views = three_views(name).requires_grad_()
    assert gradients_are_finite(mv_dhel(views, 0.05), [views])


@pytest.mark.parametrize("views", [2, 3])
def test_the_objective_contrasts_the_projections_of_the_joint_batch(views: int) -> None:
    objective, batch = make_objective(MVDHEL, temperature=0.2, views=views), make_batch(views=views)
    z = objective.projector(objective.encoder(torch.cat(batch.views)))
    expected = by_the_formula(torch.stack(z.chunk(views)), 0.2)
    assert objective(batch).item() == pytest.approx(expected, rel=1e-4)
    assert objective.number_of_views == views
