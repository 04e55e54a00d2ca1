"""Barlow Twins against the formula and lightly."""

import pytest
import torch
from lightly.loss import BarlowTwinsLoss
from torch import Tensor

from fedssl.objectives.barlow import BarlowTwins, barlow_twins
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal


def by_the_formula(first: Tensor, second: Tensor, off_diagonal: float) -> float:
    """The paper's equations 1 and 2, entry by entry, on centred features."""
    first, second = first - first.mean(0), second - second.mean(0)
    width, total = first.shape[1], 0.0
    for i in range(width):
        for j in range(width):
            a, b = first[:, i], second[:, j]
            c = ((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()).item()
            total += (1 - c) ** 2 if i == j else off_diagonal * c**2
    return total


@pytest.mark.parametrize("off_diagonal", [0.0, 0.005, 1.0])
def test_it_is_the_formula_and_lightlys(off_diagonal: float) -> None:
    first, second = normal(20, 6), normal(20, 6, seed=1)
    loss = barlow_twins(first, second, off_diagonal)
    assert loss.item() == pytest.approx(by_the_formula(first, second, off_diagonal), rel=1e-3)
    torch.testing.assert_close(loss, BarlowTwinsLoss(off_diagonal)(first, second))


def test_known_values() -> None:
    # The columns of a Hadamard matrix: standardised and uncorrelated.
    z = torch.tensor([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
    assert barlow_twins(z, z, 1.0).item() == pytest.approx(0, abs=1e-6)
    assert barlow_twins(z, -z, 1.0).item() == pytest.approx(3 * 4, rel=1e-4)
    assert barlow_twins(z, z.roll(1, dims=1), 1.0).item() == pytest.approx(3 + 3, rel=1e-4)


def test_scale_and_shift_of_a_feature_do_not_matter() -> None:
    first, second = normal(20, 4), normal(20, 4, seed=1)
    moved = barlow_twins(first * 100 + 7, second, 0.1)
    torch.testing.assert_close(moved, barlow_twins(first, second, 0.1), rtol=1e-3, atol=1e-4)


def test_gradients() -> None:
    inputs = [normal(5, 3, seed=s, dtype=torch.float64).requires_grad_() for s in (0, 1)]
    assert torch.autograd.gradcheck(lambda a, b: barlow_twins(a, b, 0.2), inputs)


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    first, second = (z.clone().requires_grad_() for z in EXTREME[name])
    assert gradients_are_finite(barlow_twins(first, second, 0.005), [first, second])


def test_the_objective_standardises_each_view_by_itself() -> None:
    objective, batch = make_objective(BarlowTwins, off_diagonal=0.03), make_batch()
    first, second = (objective.projector(objective.encoder(view)) for view in batch.views)
    torch.testing.assert_close(objective(batch), BarlowTwinsLoss(0.03)(first, second))
