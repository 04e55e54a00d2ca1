"""DirectPred: the predictor that follows from the correlation, and whose it is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fedssl.model_state import federated_state, private_tensors
from fedssl.objectives.directpred import DirectPred, optimal_predictor
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal


def by_the_formula(correlation: Tensor, epsilon: float) -> Tensor:
    """By singular values, which for a positive semi-definite matrix are its eigenvalues."""
    vectors, values, _ = torch.linalg.svd(correlation)
    total = torch.zeros_like(correlation)
    for value, vector in zip(values, vectors.T, strict=True):
        total += ((value / values.max()).sqrt() + epsilon) * torch.outer(vector, vector)
    return total


@given(st.integers(1, 6), st.integers(6, 12), st.sampled_from([0.01, 0.5]), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_it_is_the_formula(width: int, count: int, epsilon: float, seed: int) -> None:
    z = normal(count, width, seed=seed, dtype=torch.float64)
    found = optimal_predictor(z.T @ z / count, epsilon)
    torch.testing.assert_close(found, by_the_formula(z.T @ z / count, epsilon))


def test_known_values() -> None:
    found = optimal_predictor(torch.diag(torch.tensor([4.0, 1.0, 0.0])), 0.1)
    torch.testing.assert_close(found, torch.diag(torch.tensor([1.1, 0.6, 0.1])))
    # Rounding may leave an eigenvalue just below zero.
    found = optimal_predictor(torch.diag(torch.tensor([4.0, -1e-7])), 0.1)
    torch.testing.assert_close(found, torch.diag(torch.tensor([1.1, 0.1])))
    torch.testing.assert_close(optimal_predictor(torch.zeros(3, 3), 0.1), 0.1 * torch.eye(3))


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    z, t = EXTREME[name]
    z = z.clone().requires_grad_()
    predictor = optimal_predictor((z.T @ z / len(z)).detach(), 0.01)
    loss = 2 - 2 * F.cosine_similarity(z @ predictor, t).mean()
    assert gradients_are_finite(loss, [z])


def test_weights_that_are_not_finite_are_left_to_the_loss() -> None:
    assert optimal_predictor(torch.full((3, 3), torch.nan), 0.01).isfinite().all()


def test_the_loss_is_byols_with_that_predictor() -> None:
    objective, batch = (
        make_objective(DirectPred, correlation_momentum=0.4, epsilon=0.05),
        make_batch(),
    )
    objective.correlation.copy_(torch.eye(8))
    for parameter in objective.target.parameters():
        parameter.mul_(1.5)
    z1, z2 = (objective.projector(objective.encoder(view)) for view in batch.views)
    both = torch.cat([z1, z2]).detach()
    expected = 0.4 * torch.eye(8) + 0.6 * both.T @ both / 32
    predictor = by_the_formula(expected, 0.05)
    t1, t2 = (objective.target(view) for view in batch.views)
    alike = F.cosine_similarity(z1 @ predictor, t2) + F.cosine_similarity(z2 @ predictor, t1)
    torch.testing.assert_close(objective(batch), 4 - 2 * alike.mean())
    torch.testing.assert_close(objective.correlation, expected)


def test_target_and_correlation_are_private() -> None:
    objective = make_objective(DirectPred)
    assert {n.split(".")[0] for n in private_tensors(objective)} == {"target", "correlation"}
    assert {n.split(".")[0] for n in federated_state(objective)} == {"encoder", "projector"}
    objective(make_batch())
    objective.start(torch.Generator())
    assert not objective.correlation.any()
