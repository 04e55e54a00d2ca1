"""NT-Xent against the formula, lightly, and its known values."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightly.loss import NTXentLoss
from torch.nn import functional as F

from fedssl.objectives.simclr import SimCLR, nt_xent
from tests.tools.formulas import nt_xent_by_formula
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal


@given(
    st.integers(1, 6),
    st.integers(1, 5),
    st.sampled_from([0.07, 0.5, 2.0]),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=40)
def test_it_is_the_formula(
    count: int, width: int, temperature: float, margin: float, seed: int
) -> None:
    first = normal(count, width, seed=seed, dtype=torch.float64)
    second = normal(count, width, seed=seed + 100, dtype=torch.float64)
    expected = nt_xent_by_formula(first, second, temperature, margin)
    assert nt_xent(first, second, temperature, margin).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_it_is_lightlys(temperature: float) -> None:
    first, second = normal(32, 16), normal(32, 16, seed=1)
    expected = NTXentLoss(temperature=temperature)(first, second)
    torch.testing.assert_close(nt_xent(first, second, temperature), expected)


def test_known_values() -> None:
    # All views alike: chance among the 2B − 1 others.
    same = torch.ones(8, 4)
    assert nt_xent(same, same, 0.5).item() == pytest.approx(math.log(15), abs=1e-5)
    # Views alike, examples orthogonal: e² against e² + 2·3·e⁰ at τ = ½.
    apart = torch.eye(4)
    expected = math.log(1 + 6 / math.exp(2))
    assert nt_xent(apart, apart, 0.5).item() == pytest.approx(expected, abs=1e-5)


def test_norms_do_not_matter() -> None:
    first, second = normal(8, 4), normal(8, 4, seed=1)
    scaled = nt_xent(first * torch.arange(1, 9)[:, None], 1000 * second, 0.5)
    torch.testing.assert_close(scaled, nt_xent(first, second, 0.5))


def test_gradients() -> None:
    inputs = [normal(4, 3, seed=s, dtype=torch.float64).requires_grad_() for s in (0, 1)]
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.3, 0.1), inputs)


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    first, second = (z.clone().requires_grad_() for z in EXTREME[name])
    assert gradients_are_finite(nt_xent(first, second, 0.05), [first, second])


def test_the_objective_contrasts_the_projections_of_the_joint_batch() -> None:
    objective, batch = make_objective(SimCLR, temperature=0.2), make_batch()
    z = objective.projector(objective.encoder(torch.cat(batch.views)))
    expected = NTXentLoss(temperature=0.2)(F.normalize(z[:16]), F.normalize(z[16:]))
    torch.testing.assert_close(objective(batch), expected)


def test_the_objective_asks_for_its_margin() -> None:
    batch = make_batch()
    plain, with_margin = (make_objective(SimCLR, margin=m) for m in (0.0, 0.3))
    first, second = plain.projector(plain.encoder(torch.cat(batch.views))).chunk(2)
    expected = nt_xent_by_formula(first, second, 0.5, 0.3)
    assert with_margin(batch).item() == pytest.approx(expected, rel=1e-5)
    assert plain(batch) < with_margin(batch)
