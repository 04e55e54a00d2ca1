"""SimSiam against the formula and lightly."""

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import nn

from fedssl.objectives.simsiam import SimSiam, negative_cosine
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal


def test_it_is_the_formula_and_lightlys() -> None:
    p, z = normal(8, 5), normal(8, 5, seed=1)
    each = [-(a @ b) / (a.norm() * b.norm()) for a, b in zip(p, z, strict=True)]
    torch.testing.assert_close(negative_cosine(p, z), torch.stack(each).mean())
    torch.testing.assert_close(negative_cosine(p, z), NegativeCosineSimilarity()(p, z))


def test_known_values() -> None:
    z = normal(4, 3)
    assert negative_cosine(3 * z, z).item() == pytest.approx(-1)
    assert negative_cosine(-z, z).item() == pytest.approx(1)
    assert negative_cosine(torch.eye(4), torch.eye(4).roll(1, 0)).item() == 0


def test_no_gradient_flows_into_the_target() -> None:
    p, z = (normal(4, 3, seed=s, dtype=torch.float64).requires_grad_() for s in (0, 1))
    assert torch.autograd.gradcheck(lambda a: negative_cosine(a, z), [p])
    negative_cosine(p, z).backward()  # type: ignore[no-untyped-call]
    assert z.grad is None
    assert p.grad is not None


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    p, z = EXTREME[name]
    p = p.clone().requires_grad_()
    assert gradients_are_finite(negative_cosine(p, z), [p])


def test_the_objective_is_symmetric_and_each_view_a_batch_of_its_own() -> None:
    objective, batch = make_objective(SimSiam, predictor_width=4), make_batch()
    z1, z2 = (objective.projector(objective.encoder(view)) for view in batch.views)
    p1, p2 = objective.predictor(z1), objective.predictor(z2)
    lightly = NegativeCosineSimilarity()
    expected = (lightly(p1, z2.detach()) + lightly(p2, z1.detach())) / 2
    torch.testing.assert_close(objective(batch), expected)


def test_the_projector_ends_in_a_batchnorm_without_scale_and_shift() -> None:
    objective = make_objective(SimSiam)
    assert isinstance(objective.projector, nn.Sequential)
    last = objective.projector[-1]
    assert isinstance(last, nn.BatchNorm1d)
    assert not last.affine


def test_the_predictor_is_a_bottleneck_of_the_configured_width() -> None:
    objective = make_objective(SimSiam, projector=(16,), predictor_width=4)
    shapes = [tuple(p.shape) for p in objective.predictor.parameters() if p.ndim == 2]
    assert shapes == [(4, 16), (16, 4)]
