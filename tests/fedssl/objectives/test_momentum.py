"""The target: a slow copy of the network that belongs to the client."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedssl.objectives.byol import BYOL
from fedssl.objectives.momentum import momentum_at
from tests.tools.objectives import make_batch, make_objective, normal


def a_byol(momentum: float = 0.99, schedule: str = "cosine") -> BYOL:
    return make_objective(BYOL, momentum=momentum, momentum_schedule=schedule, predictor_width=10)


def online(objective: BYOL) -> list[nn.Parameter]:
    return [*objective.encoder.parameters(), *objective.projector.parameters()]


def test_the_optimiser_moves_the_online_network_and_not_the_target() -> None:
    objective, batch = a_byol(), make_batch()
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
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_a_step_moves_the_target_by_the_moving_average(progress: float, schedule: str) -> None:
    objective = a_byol(0.7, schedule)
    with torch.no_grad():
        for n, parameter in enumerate(online(objective)):
            parameter.copy_(normal(*parameter.shape, seed=n))
    momentum = momentum_at(0.7, progress) if schedule == "cosine" else 0.7
    expected = [
        momentum * target + (1 - momentum) * source
        for target, source in zip(objective.target.parameters(), online(objective), strict=True)
    ]
    objective.after_step(progress)
    torch.testing.assert_close(list(objective.target.parameters()), expected)


def test_the_targets_statistics_follow_its_own_batches_and_not_the_average() -> None:
    objective, batch = a_byol(), make_batch()
    before = {n: b.clone() for n, b in objective.target.named_buffers()}
    objective.after_step(0.5)
    assert all(torch.equal(before[n], b) for n, b in objective.target.named_buffers())
    objective(batch)
    assert not any(torch.equal(before[n], b) for n, b in objective.target.named_buffers())
    assert objective.target.training


def test_starting_makes_the_target_a_copy_of_the_online_network() -> None:
    objective, batch = a_byol(), make_batch()
    objective(batch)
    with torch.no_grad():
        for parameter in objective.target.parameters():
            parameter.zero_()
    objective.start(torch.Generator())
    source = nn.Sequential(objective.encoder, objective.projector).state_dict()
    for name, value in objective.target.state_dict().items():
        assert torch.equal(value, source[name])
        assert value.data_ptr() != source[name].data_ptr()
    assert not any(p.requires_grad for p in objective.target.parameters())
