"""CACR against the formula."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fedssl.objectives.cacr import CACR, cacr
from tests.tools.objectives import (
    EXTREME,
    gradients_are_finite,
    make_batch,
    make_objective,
    normal,
    three_views,
)


def weighted(distances: list[float], temperature: float) -> float:
    weights = [math.exp(temperature * d) for d in distances]
    return sum(w * d for w, d in zip(weights, distances, strict=True)) / sum(weights)


def by_the_formula(views: Tensor, positive: float, negative: float) -> float:
    unit = F.normalize(views, dim=2)
    count, examples = unit.shape[:2]

    def distance(view: int, example: int, other_view: int, other: int) -> float:
        return (unit[view, example] - unit[other_view, other]).square().sum().item()

    pulls, pushes = [], []
    for q in range(count):
        others = [m for m in range(count) if m != q]
        for i in range(examples):
            pulls.append(weighted([distance(q, i, m, i) for m in others], positive))
            for m in others:
                away = [distance(q, i, m, j) for j in range(examples) if j != i]
                pushes.append(weighted(away, -negative))
    return sum(pulls) / len(pulls) - sum(pushes) / len(pushes)


@given(
    st.integers(2, 4),
    st.integers(2, 5),
    st.sampled_from([(1.0, 0.9), (0.0, 2.0)]),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=30)
def test_it_is_the_formula(
    count: int, examples: int, sharpness: tuple[float, float], seed: int
) -> None:
    views = normal(count, examples, 3, seed=seed, dtype=torch.float64)
    expected = by_the_formula(views, *sharpness)
    assert cacr(views, *sharpness).item() == pytest.approx(expected, abs=1e-9)


def test_known_values() -> None:
    # Views alike, examples orthogonal: nothing to pull, and a squared distance of 2 to all others.
    apart = torch.eye(4).expand(3, -1, -1)
    assert cacr(apart, 1.0, 0.9).item() == pytest.approx(-2)
    assert cacr(torch.ones(3, 4, 5), 1.0, 0.9).item() == pytest.approx(0, abs=1e-6)
    # Two examples, opposite; one view of each lies where the other example is.
    one = torch.tensor([[1.0, 0], [-1, 0]])
    assert cacr(torch.stack([one, -one]), 1.0, 0.9).item() == pytest.approx(4 - 0)


def test_gradients_flow_through_the_weights_too() -> None:
    views = normal(3, 4, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: cacr(v, 1.0, 0.9), [views])


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    views = three_views(name).requires_grad_()
    assert gradients_are_finite(cacr(views, 1.0, 2.0), [views])


@pytest.mark.parametrize("views", [2, 3])
def test_the_objective_contrasts_the_projections_of_the_joint_batch(views: int) -> None:
    objective = make_objective(CACR, positive=2.0, negative=0.5, views=views)
    batch = make_batch(views=views)
    z = objective.projector(objective.encoder(torch.cat(batch.views)))
    expected = by_the_formula(torch.stack(z.chunk(views)), 2.0, 0.5)
    assert objective(batch).item() == pytest.approx(expected, abs=1e-5)
    assert objective.number_of_views == views
