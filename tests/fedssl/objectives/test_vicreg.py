"""VICReg against the formula and lightly."""

import math

import pytest
import torch
from lightly.loss import VICRegLoss
from torch import Tensor

from fedssl.objectives.vicreg import VICReg, vicreg
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal


def by_the_formula(first: Tensor, second: Tensor, weights: tuple[float, float, float]) -> float:
    count, width = first.shape
    pairs = zip(first.flatten().tolist(), second.flatten().tolist(), strict=True)
    apart: float = sum((a - b) ** 2 for a, b in pairs)
    spread = redundancy = 0.0
    for view in (first, second):
        columns = [[x - sum(c) / count for x in c] for c in view.T.tolist()]
        for i, one in enumerate(columns):
            for j, other in enumerate(columns):
                covariance = sum(x * y for x, y in zip(one, other, strict=True)) / (count - 1)
                if i == j:
                    spread += max(0.0, 1 - math.sqrt(covariance + 1e-4)) / width / 2
                else:
                    redundancy += covariance**2 / width
    return weights[0] * apart / (count * width) + weights[1] * spread + weights[2] * redundancy


@pytest.mark.parametrize("weights", [(25, 25, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_it_is_the_formula_and_lightlys(weights: tuple[float, float, float]) -> None:
    # Some features vary by less than 1 and some by more, so that the hinge is seen on both sides.
    first, second = (normal(20, 6, seed=s) * torch.linspace(0.2, 2, 6) for s in (0, 1))
    loss = vicreg(first, second, *weights)
    assert loss.item() == pytest.approx(by_the_formula(first, second, weights), rel=1e-4)
    torch.testing.assert_close(loss, VICRegLoss(*weights)(first, second))


def test_known_values() -> None:
    # The columns of a Hadamard matrix, scaled to a variance of 1: nothing is left to improve.
    z = torch.tensor([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]]) * math.sqrt(3 / 4)
    assert vicreg(z, z, 25, 25, 1).item() == pytest.approx(0, abs=1e-6)
    assert vicreg(z, -z, 1, 0, 0).item() == pytest.approx(4 * 3 / 4)
    assert vicreg(torch.zeros(4, 3), torch.zeros(4, 3), 25, 25, 1).item() == pytest.approx(24.75)


def test_gradients() -> None:
    inputs = [normal(5, 3, seed=s, dtype=torch.float64).requires_grad_() for s in (0, 1)]
    assert torch.autograd.gradcheck(lambda a, b: vicreg(a, b, 2.0, 3.0, 0.5), inputs)


@pytest.mark.parametrize("name", sorted(EXTREME.keys() - {"huge norms"}))
def test_extreme_projections_stay_finite(name: str) -> None:
    first, second = (z.clone().requires_grad_() for z in EXTREME[name])
    assert gradients_are_finite(vicreg(first, second, 25, 25, 1), [first, second])


def test_projections_too_large_for_their_squares_give_no_number() -> None:
    assert not vicreg(*EXTREME["huge norms"], 25, 25, 1).isfinite()


def test_the_objective_compares_the_projections_of_each_view() -> None:
    objective, batch = (
        make_objective(VICReg, invariance=3.0, variance=2.0, covariance=0.5),
        make_batch(),
    )
    first, second = (objective.projector(objective.encoder(view)) for view in batch.views)
    torch.testing.assert_close(objective(batch), VICRegLoss(3.0, 2.0, 0.5)(first, second))
