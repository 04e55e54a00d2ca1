"""W-MSE: whitening by its law, the loss against lightly and a plain loop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightly.loss import WMSELoss
from torch import Tensor
from torch.nn import functional as F

from fedssl.objectives.w_mse import WMSE, w_mse, whiten
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal


@given(st.integers(2, 6), st.integers(2, 20), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_whitened_features_have_mean_zero_and_the_identity_as_covariance(
    width: int, more: int, seed: int
) -> None:
    # Features of very different spread, and a mean far from zero.
    features = normal(width + more, width, seed=seed, dtype=torch.float64)
    white = whiten(features * torch.linspace(0.5, 2, width) + 5)
    assert white.mean(0).abs().max() < 1e-8
    # What is added to the variances counts where there are hardly more examples than features.
    if more > width:
        torch.testing.assert_close(white.T.cov(), torch.eye(width).to(white), atol=0.01, rtol=0)


def by_the_formula(views: Tensor, order: list[int], sub_batch: int) -> float:
    """By eigenvalues: cosines of whitened vectors do not depend on the root that is taken."""
    total, pairs, count = 0.0, 0, views.shape[1]
    for one in range(len(views)):
        for other in range(one + 1, len(views)):
            for start in range(0, count, sub_batch):
                rows = order[start : start + sub_batch]
                white = []
                for view in (views[one], views[other]):
                    centred = view[rows] - view[rows].mean(0)
                    factor = torch.linalg.cholesky(centred.T @ centred / (len(rows) - 1))
                    white.append(centred @ torch.linalg.inv(factor).T)
                cosines = F.cosine_similarity(white[0], white[1])
                total += (2 - 2 * cosines).sum().item()
            pairs += count
    return total / pairs


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("sub_batch", [12, 24])
def test_it_is_the_formula(count: int, sub_batch: int) -> None:
    views = torch.stack([normal(24, 4, seed=s, dtype=torch.float64) for s in range(count)])
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    expected = by_the_formula(views, order.tolist(), sub_batch)
    assert w_mse(views, order, sub_batch).item() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("count", [2, 3])
def test_it_is_lightlys(count: int) -> None:
    views = torch.stack([normal(16, 4, seed=s) for s in range(count)])
    theirs = WMSELoss(embedding_dim=4, w_size=16, num_samples=count)(views.flatten(0, 1))
    torch.testing.assert_close(w_mse(views, torch.arange(16), 16), theirs, atol=1e-3, rtol=1e-3)


def test_known_values() -> None:
    views, order = normal(1, 12, 4), torch.arange(12)
    assert w_mse(views.expand(2, -1, -1), order, 8).item() == pytest.approx(0, abs=1e-5)
    opposite = torch.cat([views, -views])
    assert w_mse(opposite, order, 12).item() == pytest.approx(4, abs=1e-5)
    # Whitening undoes a triangular mixing of features, as by a Cholesky factor, and a shift.
    mixing = normal(4, 4, seed=1).tril() + 3 * torch.eye(4)
    moved = torch.cat([views, views @ mixing.T + 7])
    assert w_mse(moved, order, 12).item() == pytest.approx(0, abs=1e-3)


def test_examples_beyond_a_multiple_of_the_sub_batch_are_not_left_out() -> None:
    views = normal(2, 13, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(w_mse(views, torch.arange(13), 6), views)
    assert (gradient.abs().amax(2) > 0).all()


def test_gradients() -> None:
    views = normal(2, 8, 3, dtype=torch.float64).requires_grad_()
    order = torch.tensor([3, 0, 7, 1, 2, 5, 4, 6])
    assert torch.autograd.gradcheck(lambda v: w_mse(v, order, 8), [views])


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    views = torch.stack(EXTREME[name])[:, :, :3].clone().requires_grad_()
    assert gradients_are_finite(w_mse(views, torch.arange(6), 6), [views])


def test_weights_that_are_not_finite_give_no_number() -> None:
    assert w_mse(torch.full((2, 6, 3), torch.nan), torch.arange(6), 6).isnan()


@pytest.mark.parametrize("views", [2, 3])
def test_the_objective_shares_examples_out_by_the_batchs_draws(views: int) -> None:
    objective, batch = make_objective(WMSE, sub_batch=10, views=views), make_batch(20, views=views)
    order = torch.randperm(20, generator=make_batch(20).generator)
    z = objective.projector(objective.encoder(torch.cat(batch.views))).view(views, 20, 8)
    torch.testing.assert_close(objective(batch), w_mse(z, order, 10))
    assert objective.number_of_views == views
    assert objective.minimum_batch == 10


def test_the_sub_batch_is_twice_the_width_unless_it_is_given() -> None:
    assert make_objective(WMSE, (16, 8)).minimum_batch == 16
    assert make_objective(WMSE, ()).minimum_batch == 24
    with pytest.raises(ValueError, match=r"objective\.sub_batch = 8: must be more than .* 8"):
        make_objective(WMSE, (16, 8), sub_batch=8)
