"""DCL and DCLW against lightly and the formula."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightly.loss import DCLLoss
from torch import Tensor
from torch.nn import functional as F

from fedssl.objectives.dcl import DCL, decoupled
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal


def by_the_formula(
    first: Tensor, second: Tensor, temperature: float, sigma: float | None = None
) -> float:
    count = len(first)
    views: list[list[float]] = F.normalize(torch.cat([first, second]), dim=1).tolist()

    def cosine(i: int, k: int) -> float:
        return sum(x * y for x, y in zip(views[i], views[k], strict=True))

    pairs = [cosine(i, i + count) for i in range(count)]
    total = 0.0
    for i in range(2 * count):
        weight = 1.0
        if sigma is not None:
            share = math.exp(pairs[i % count] / sigma) / sum(math.exp(p / sigma) for p in pairs)
            weight = 2 - count * share
        others = [k for k in range(2 * count) if k % count != i % count]
        total -= weight * pairs[i % count] / temperature
        total += math.log(sum(math.exp(cosine(i, k) / temperature) for k in others))
    return total / (2 * count)


@given(
    st.integers(2, 6), st.sampled_from([0.1, 0.5]), st.sampled_from([None, 0.5]), st.integers(0, 99)
)
@settings(deadline=None, max_examples=30)
def test_it_is_the_formula(count: int, temperature: float, sigma: float | None, seed: int) -> None:
    first, second = (normal(count, 3, seed=s, dtype=torch.float64) for s in (seed, seed + 100))
    expected = by_the_formula(first, second, temperature, sigma)
    assert decoupled(first, second, temperature, sigma).item() == pytest.approx(expected, abs=1e-9)


def test_it_is_lightlys() -> None:
    first, second = normal(32, 16), normal(32, 16, seed=1)
    torch.testing.assert_close(decoupled(first, second, 0.1), DCLLoss(0.1)(first, second))


def test_known_values() -> None:
    # All views alike: the 2B − 2 negatives lie as near as the positive.
    same = torch.ones(8, 4)
    assert decoupled(same, same, 0.5).item() == pytest.approx(math.log(14), abs=1e-5)
    # Views alike, examples orthogonal: −1/τ + log(2·3).
    apart = torch.eye(4)
    assert decoupled(apart, apart, 0.5).item() == pytest.approx(-2 + math.log(6), abs=1e-5)


def test_gradients() -> None:
    first, second = (normal(4, 3, seed=s, dtype=torch.float64).requires_grad_() for s in (0, 1))
    assert torch.autograd.gradcheck(lambda a, b: decoupled(a, b, 0.3), [first, second])


def test_no_gradient_flows_through_the_weights() -> None:
    first, second = (normal(4, 3, seed=s, dtype=torch.float64).requires_grad_() for s in (0, 1))
    similarity = F.cosine_similarity(first, second)
    weight = 2 - 4 * (similarity.detach() / 0.5).softmax(0)
    by_hand = decoupled(first, second, 0.3) + ((1 - weight) * similarity).mean() / 0.3
    found, expected = (
        torch.autograd.grad(loss, [first, second])
        for loss in (decoupled(first, second, 0.3, 0.5), by_hand)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("sigma", [None, 0.5])
def test_extreme_projections_stay_finite(name: str, sigma: float | None) -> None:
    first, second = (z.clone().requires_grad_() for z in EXTREME[name])
    assert gradients_are_finite(decoupled(first, second, 0.05, sigma), [first, second])


def test_the_objective_contrasts_the_projections_of_the_joint_batch() -> None:
    objective, batch = make_objective(DCL, temperature=0.2), make_batch()
    first, second = objective.projector(objective.encoder(torch.cat(batch.views))).chunk(2)
    torch.testing.assert_close(objective(batch), DCLLoss(0.2)(first, second))
