"""E2MC against the formula."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedssl.modalities.image import IMAGE
from fedssl.objectives.e2mc import CDF, E2MC, e2mc, marginal_entropy
from tests.tools.objectives import (
    EXTREME,
    TinyEncoder,
    gradients_are_finite,
    make_batch,
    normal,
    three_views,
)


def by_the_formula(projections: Tensor, cdf: CDF, entropy: float, covariance: float) -> float:
    epsilon = torch.finfo(projections.dtype).eps
    loss = 0.0
    for view in projections:
        count, width = view.shape
        spacing = round(math.sqrt(count))
        columns = []
        for column in view.T.tolist():
            if cdf == "normal":
                u = [(1 + math.erf(z / math.sqrt(2))) / 2 for z in column]
            else:
                u = [1 / (1 + math.exp(-z)) for z in column]
            columns.append([x - sum(u) / count for x in u])
        for i, one in enumerate(columns):
            ordered = sorted(one)
            for low, high in zip(ordered[:-spacing], ordered[spacing:], strict=True):
                gap = (count + 1) / spacing * (high - low) + epsilon
                terms = width * (count - spacing) * len(projections)
                loss -= entropy * math.log(gap) / terms
            for j, other in enumerate(columns):
                if i != j:
                    c = sum(x * y for x, y in zip(one, other, strict=True)) / (count - 1)
                    loss += covariance * c**2 / width
    return loss


@given(
    st.integers(1, 3),
    st.integers(3, 12),
    st.sampled_from(["normal", "sigmoid"]),
    st.sampled_from([(10.0, 1.0), (1.0, 25.0)]),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=40)
def test_it_is_the_formula(
    views: int, count: int, cdf: CDF, weights: tuple[float, float], seed: int
) -> None:
    projections = normal(views, count, 4, seed=seed, dtype=torch.float64)
    expected = by_the_formula(projections, cdf, *weights)
    assert e2mc(projections, cdf, *weights).item() == pytest.approx(expected, abs=1e-9)


def test_an_even_spread_has_the_most_entropy() -> None:
    even = ((torch.arange(400) + 0.5) / 400).unsqueeze(1)
    assert marginal_entropy(even).item() == pytest.approx(0, abs=0.01)
    assert marginal_entropy(even**2) < marginal_entropy(even)
    # Half the range has half the density to fill: log ½ less.
    assert marginal_entropy(even / 2).item() == pytest.approx(math.log(0.5), abs=0.01)


def test_gradients() -> None:
    projections = normal(2, 6, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: e2mc(z, "normal", 10.0, 1.0), [projections])
    assert torch.autograd.gradcheck(lambda z: e2mc(z, "sigmoid", 1.0, 25.0), [projections])


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("cdf", ["normal", "sigmoid"])
def test_extreme_projections_stay_finite(name: str, cdf: CDF) -> None:
    projections = three_views(name).requires_grad_()
    assert gradients_are_finite(e2mc(projections, cdf, 10.0, 1.0), [projections])


@pytest.mark.parametrize(
    ("objective", "cdf", "entropy", "covariance"),
    [("vicreg", "sigmoid", 10, 1), ("simsiam", "normal", 1, 25), ("simclr", "normal", 10, 1)],
)
def test_the_defaults_are_those_published_for_the_objective(
    objective: str, cdf: CDF, entropy: float, covariance: float
) -> None:
    term, z, batch = (
        E2MC(E2MC.Config(), objective, 12, IMAGE),
        normal(2, 9, 4),
        make_batch(9, views=0),
    )
    expected = e2mc(z, cdf, entropy, covariance)
    torch.testing.assert_close(term(TinyEncoder(), z, batch), expected)
    own = E2MC(E2MC.Config(entropy=2.0, covariance=0.0), objective, 12, IMAGE)
    torch.testing.assert_close(own(TinyEncoder(), z, batch), e2mc(z, cdf, 2.0, 0.0))


def test_an_objective_that_projects_nothing_is_refused() -> None:
    term = E2MC(E2MC.Config(), "my_module.MyClass", 12, IMAGE)
    with pytest.raises(ValueError, match="acts on projections, and there are none"):
        term(TinyEncoder(), torch.empty(0), make_batch(9, views=0))
