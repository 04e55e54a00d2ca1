"""MV-InfoNCE against the formula."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fedssl.objectives.mv_infonce import MVInfoNCE, mv_infonce
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
        above = below = 0.0
        for view, other_view, j in product(range(count), range(count), range(examples)):
            if (view, i) != (other_view, j):
                below += energy(view, i, other_view, j)
                above += energy(view, i, other_view, j) if i == j else 0
        total -= math.log(above / below)
    return total / examples


@given(st.integers(2, 4), st.integers(1, 5), st.sampled_from([0.07, 0.5, 2.0]), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_it_is_the_formula(count: int, examples: int, temperature: float, seed: int) -> None:
    views = normal(count, examples, 3, seed=seed, dtype=torch.float64)
    expected = by_the_formula(views, temperature)
    assert mv_infonce(views, temperature).item() == pytest.approx(expected, abs=1e-9)


def test_known_values() -> None:
    # All alike: of the V·B − 1 partners of a view, V − 1 are of its example.
    assert mv_infonce(torch.ones(3, 8, 4), 0.5).item() == pytest.approx(math.log(23 / 2), abs=1e-5)
    # Views alike, examples orthogonal: V − 1 of e² against V·(B − 1) more of e⁰ at τ = ½.
    expected = math.log(1 + 3 * 3 / (2 * math.exp(2)))
    apart = torch.eye(4).expand(3, -1, -1)
    assert mv_infonce(apart, 0.5).item() == pytest.approx(expected, abs=1e-5)


def test_the_order_of_the_views_does_not_matter() -> None:
    views = normal(4, 6, 3)
    torch.testing.assert_close(mv_infonce(views, 0.3), mv_infonce(views.flip(0), 0.3))


def test_gradients() -> None:
    views = normal(3, 4, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: mv_infonce(v, 0.3), [views])


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    views = three_views(name).requires_grad_()
    assert gradients_are_finite(mv_infonce(views, 0.05), [views])


@pytest.mark.parametrize("views", [2, 3])
def test_the_objective_contrasts_the_projections_of_the_joint_batch(views: int) -> None:
    objective, batch = (
        make_objective(MVInfoNCE, temperature=0.2, views=views),
        make_batch(views=views),
    )
    z = objective.projector(objective.encoder(torch.cat(batch.views)))
    expected = by_the_formula(torch.stack(z.chunk(views)), 0.2)
    assert objective(batch).item() == pytest.approx(expected, rel=1e-4)
    assert objective.number_of_views == views
