"""MoCo: the loss against lightly and the formula, and the keys that belong to the client."""

import math

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import Tensor
from torch.nn import functional as F

from fedssl.model_state import private_tensors
from fedssl.objectives.moco import MoCo, moco
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal


def lightlys(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    loss = NTXentLoss(temperature, memory_bank_size=tuple(queue.shape))
    loss.memory_bank.bank = F.normalize(queue, dim=1)
    result: Tensor = loss(query, key)
    return result


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_it_is_lightlys(temperature: float) -> None:
    query, key, queue = normal(8, 5), normal(8, 5, seed=1), normal(12, 5, seed=2)
    expected = lightlys(query, key, queue, temperature)
    torch.testing.assert_close(moco(query, key, queue, temperature), expected)


def test_known_values() -> None:
    # A query equal to its key, and orthogonal to all n of the queue: log(1 + n·e^{-1/τ}).
    key, queue = torch.eye(4)[:2], torch.eye(4)[2:]
    expected = math.log(1 + 2 * math.exp(-1 / 0.5))
    assert moco(3 * key, key, queue, 0.5).item() == pytest.approx(expected)
    # With an empty queue the other example's key stands in for it.
    assert moco(key, key, queue[:0], 0.5).item() == pytest.approx(math.log(1 + math.exp(-2)))


@pytest.mark.parametrize("held", [0, 6])
def test_gradients_flow_into_the_query_alone(held: int) -> None:
    query, key, queue = (
        normal(n, 3, seed=s, dtype=torch.float64).requires_grad_()
        for s, n in enumerate((4, 4, held))
    )
    assert torch.autograd.gradcheck(lambda q: moco(q, key, queue.detach(), 0.3), [query])
    moco(query, key, queue.detach(), 0.3).backward()  # type: ignore[no-untyped-call]
    assert key.grad is None


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("held", [0, 6])
def test_extreme_projections_stay_finite(name: str, held: int) -> None:
    query, key = EXTREME[name]
    query = query.clone().requires_grad_()
    assert gradients_are_finite(moco(query, key, key[:held], 0.05), [query])


def test_the_first_view_asks_and_the_targets_view_of_the_second_answers() -> None:
    objective, batch = make_objective(MoCo, temperature=0.3, queue=20), make_batch()
    for parameter in objective.target.parameters():
        parameter.mul_(1.5)
    queue = normal(20, 8)
    objective.queue.push(queue)
    query = objective.projector(objective.encoder(batch.views[0]))
    expected = lightlys(query, objective.target(batch.views[1]), queue, 0.3)
    torch.testing.assert_close(objective(batch), expected)


def test_after_a_step_the_batchs_keys_are_in_the_queue() -> None:
    objective, batch = make_objective(MoCo, queue=20), make_batch(16)
    objective(batch)
    assert len(objective.queue.filled()) == 0
    keys = F.normalize(objective.target(batch.views[1]), dim=1)
    objective.after_step(0.0)
    torch.testing.assert_close(objective.queue.filled(), keys)
    objective.after_step(0.0)
    assert len(objective.queue.filled()) == 16
    objective.start(torch.Generator())
    assert len(objective.queue.filled()) == 0


def test_target_and_queue_are_private() -> None:
    names = private_tensors(make_objective(MoCo))
    assert {n.split(".")[0] for n in names} == {"target", "queue"}
