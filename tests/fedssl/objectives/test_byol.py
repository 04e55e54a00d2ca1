"""BYOL: the loss, and the target that belongs to the client."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from fedssl.objectives.byol import BYOL, momentum_at, prediction_error
from fedssl.state import federated_state, private_state
from tests.fedssl.objectives.tools import EXTREME, a_batch, gradients_are_finite, make, normal


def a_byol(momentum: float = 0.99) -> BYOL:
    objective = make(BYOL, momentum=momentum, predictor_width=10)
    assert isinstance(objective, BYOL)
    return objective


def online(objective: BYOL) -> list[nn.Parameter]:
    return [*objective.encoder.parameters(), *objective.projector.parameters()]


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
    objective, batch = a_byol(), a_batch()
    for parameter in objective.target.parameters():
        parameter.mul_(1.5)
    p1, p2 = (objective.predictor(objective.projector(objective.encoder(v))) for v in batch.views)
    z1, z2 = (objective.target(view) for view in batch.views)
    expected = 4 - 2 * (F.cosine_similarity(p1, z2) + F.cosine_similarity(p2, z1)).mean()
    torch.testing.assert_close(objective(batch), expected)


def test_only_the_target_is_private() -> None:
    objective = a_byol()
    private, federated = private_state(objective), federated_state(objective)
    assert {name.split(".")[0] for name in private} == {"target"}
    assert {name.split(".")[0] for name in federated} == {"encoder", "projector", "predictor"}
    count = len(objective.encoder.state_dict()) + len(objective.projector.state_dict())
    assert len(private) == count


def test_the_optimiser_moves_the_online_network_and_not_the_target() -> None:
    objective, batch = a_byol(), a_batch()
    before = [p.clone() for p in objective.target.parameters()]
    assert not any(p.requires_grad for p in objective.target.parameters())
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=0.1)
    objective(batch).backward()
    optimizer.step()
    assert all(p.grad is not None for p in online(objective))
    for old, target, source in zip(
        before, objective.target.parameters(), online(objective), strict=True
    ):
        assert torch.equal(old, target)
        assert not torch.equal(old, source)


@given(st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_the_schedule_is_the_papers(base: float, progress: float) -> None:
    expected = 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2
    assert momentum_at(base, progress) == pytest.approx(expected)
    assert base - 1e-12 <= momentum_at(base, progress) <= 1


def test_the_schedule_rises_from_the_base_to_one() -> None:
    assert momentum_at(0.9, 0) == pytest.approx(0.9)
    assert momentum_at(0.9, 0.5) == pytest.approx(0.95)
    assert momentum_at(0.9, 1) == 1


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_a_step_moves_the_target_by_the_moving_average(progress: float) -> None:
    objective = a_byol(momentum=0.7)
    with torch.no_grad():
        for n, parameter in enumerate(online(objective)):
            parameter.copy_(normal(*parameter.shape, seed=n))
    momentum = momentum_at(0.7, progress)
    expected = [
        momentum * target + (1 - momentum) * source
        for target, source in zip(objective.target.parameters(), online(objective), strict=True)
    ]
    objective.after_step(progress)
    torch.testing.assert_close(list(objective.target.parameters()), expected)


def test_the_targets_statistics_follow_its_own_batches_and_not_the_average() -> None:
    objective, batch = a_byol(), a_batch()
    before = {n: b.clone() for n, b in objective.target.named_buffers()}
    objective.after_step(0.5)
    assert all(torch.equal(before[n], b) for n, b in objective.target.named_buffers())
    objective(batch)
    assert not any(torch.equal(before[n], b) for n, b in objective.target.named_buffers())
    assert objective.target.training


def test_starting_makes_the_target_a_copy_of_the_online_network() -> None:
    objective, batch = a_byol(), a_batch()
    objective(batch)
    with torch.no_grad():
        for parameter in objective.target.parameters():
            parameter.zero_()
    objective.start()
    source = nn.Sequential(objective.encoder, objective.projector).state_dict()
    for name, value in objective.target.state_dict().items():
        assert torch.equal(value, source[name])
        assert value.data_ptr() != source[name].data_ptr()
    assert not any(p.requires_grad for p in objective.target.parameters())
