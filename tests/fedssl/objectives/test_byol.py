"""BYOL's loss."""

import pytest
import torch
from torch.nn import functional as F

from fedssl.model_state import federated_state, private_tensors
from fedssl.objectives.byol import BYOL, prediction_error
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal


def a_byol() -> BYOL:
    return make_objective(BYOL, predictor_width=10)


def test_it_is_the_squared_distance_of_unit_vectors() -> None:
    p, z = normal(8, 5), normal(8, 5, seed=1)
    distances = [(a / a.norm() - b / b.norm()).square().sum() for a, b in zip(p, z, strict=True)]
    torch.testing.assert_close(prediction_error(p, z), torch.stack(distances).mean())


def test_known_values() -> None:
    z = normal(4, 3)
    assert prediction_error(3 * z, z).item() == pytest.approx(0, abs=1e-6)
    assert prediction_error(-z, z).item() == pytest.approx(4)


def test_no_gradient_flows_into_the_target() -> None:
    p, z = (normal(4, 3, seed=s, dtype=torch.float64).requires_grad_() for s in (0, 1))
    assert torch.autograd.gradcheck(lambda a: prediction_error(a, z), [p])
    prediction_error(p, z).backward()  # type: ignore[no-untyped-call]
    assert z.grad is None


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    p, z = EXTREME[name]
    p = p.clone().requires_grad_()
    assert gradients_are_finite(prediction_error(p, z), [p])


def test_the_objective_sums_the_errors_of_both_directions() -> None:
    objective, batch = a_byol(), make_batch()
    for parameter in objective.target.parameters():
        parameter.mul_(1.5)
    p1, p2 = (objective.predictor(objective.projector(objective.encoder(v))) for v in batch.views)
    z1, z2 = (objective.target(view) for view in batch.views)
    expected = 4 - 2 * (F.cosine_similarity(p1, z2) + F.cosine_similarity(p2, z1)).mean()
    torch.testing.assert_close(objective(batch), expected)


def test_only_the_target_is_private() -> None:
    objective = a_byol()
    private, federated = private_tensors(objective), federated_state(objective)
    assert {name.split(".")[0] for name in private} == {"target"}
    assert {name.split(".")[0] for name in federated} == {"encoder", "projector", "predictor"}
    count = len(objective.encoder.state_dict()) + len(objective.projector.state_dict())
    assert len(private) == count
