"""Mixed Barlow Twins against the formula, matrix by matrix."""

import pytest
import torch
from torch import Tensor

from fedssl.objectives.barlow import barlow_twins
from fedssl.objectives.mixed_barlow import MixedBarlowTwins, mixed_barlow_twins
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal

ORDER = torch.tensor([2, 0, 1, 5, 3, 4])


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Entry by entry, on centred features."""
    one, other = one - one.mean(0), other - other.mean(0)
    rows = [
        [((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()).item() for b in other.T]
        for a in one.T
    ]
    return torch.tensor(rows)


def by_the_formula(
    views: tuple[Tensor, Tensor], mixed: Tensor, order: Tensor, share: float, weights: list[float]
) -> float:
    first, second = views
    off_diagonal, mixing = weights
    loss = barlow_twins(first, second, off_diagonal).item()
    for view in views:
        # A permuted view has the same mean and spread, so it may be permuted before.
        target = share * correlation(first, view)
        target = target + (1 - share) * correlation(second[order], view)
        loss += mixing * off_diagonal * (correlation(mixed, view) - target).square().sum().item()
    return loss


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("weights", [[1 / 128, 4.0], [0.5, 1.0]])
def test_it_is_the_formula(share: float, weights: list[float]) -> None:
    views, mixed = (normal(6, 4), normal(6, 4, seed=1)), normal(6, 4, seed=2)
    loss = mixed_barlow_twins(*views, mixed, ORDER, share, *weights)
    expected = by_the_formula(views, mixed, ORDER, share, weights)
    assert loss.item() == pytest.approx(expected, rel=1e-3)


def test_projections_in_between_cost_nothing_more() -> None:
    first, second = normal(6, 4), normal(6, 4, seed=1)
    plain = barlow_twins(first, second, 0.5)
    # Unmixed examples: projections of the first view itself, and of the other examples themselves.
    for mixed, share in ((first, 1.0), (second[ORDER], 0.0)):
        loss = mixed_barlow_twins(first, second, mixed, ORDER, share, 0.5, 4.0)
        torch.testing.assert_close(loss, plain)


def test_gradients() -> None:
    inputs = [normal(6, 3, seed=s, dtype=torch.float64).requires_grad_() for s in (0, 1, 2)]
    assert torch.autograd.gradcheck(
        lambda a, b, m: mixed_barlow_twins(a, b, m, ORDER, 0.3, 0.2, 4.0), inputs
    )


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    first, second = (z.clone().requires_grad_() for z in EXTREME[name])
    loss = mixed_barlow_twins(first, second, second, ORDER, 0.3, 1 / 128, 4.0)
    assert gradients_are_finite(loss, [first, second])


def test_the_objective_mixes_examples_by_the_batchs_draws() -> None:
    objective = make_objective(MixedBarlowTwins, off_diagonal=0.03, mixing=2.0)
    batch, again = make_batch(), make_batch()
    share = torch.rand((), generator=again.generator).item()
    order = torch.randperm(16, generator=again.generator)
    first, second = batch.views
    mixed = share * first + (1 - share) * second[order]
    views = [
        objective.projector(objective.encoder(examples)) for examples in (first, second, mixed)
    ]
    expected = by_the_formula((views[0], views[1]), views[2], order, share, [0.03, 2.0])
    loss = objective(batch).item()
    assert loss == pytest.approx(expected, rel=1e-3)
    assert objective(batch).item() != loss
