"""RankMe's known answers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedssl.evaluation.rankme import rankme
from tests.tools.evaluation import rng


def orthonormal(count: int, width: int) -> torch.Tensor:
    matrix = torch.randn(count, width, generator=rng(), dtype=torch.float64)
    q: torch.Tensor = torch.linalg.qr(matrix).Q
    return q


@given(st.integers(1, 20), st.floats(1e-6, 1e6))
@settings(deadline=None, max_examples=20)
def test_orthogonal_features_use_all_dimensions(width: int, scale: float) -> None:
    assert rankme(scale * orthonormal(50, width)) == pytest.approx(width)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_features_of_rank_r_use_r_dimensions(rank: int) -> None:
    features = orthonormal(50, rank) @ orthonormal(16, rank).T
    assert rankme(features) == pytest.approx(rank, rel=1e-6)


def test_it_is_the_formula() -> None:
    sigma = torch.tensor([4.0, 2.0, 1.0, 1.0], dtype=torch.float64)
    features = orthonormal(30, 4) * sigma @ orthonormal(4, 4)
    entropy = -sum(p * math.log(p) for p in (1 / 2, 1 / 4, 1 / 8, 1 / 8))
    assert rankme(features) == pytest.approx(math.exp(entropy))


def test_features_are_not_centred() -> None:
    assert rankme(torch.ones(10, 4)) == pytest.approx(1, abs=1e-5)
    assert rankme(torch.zeros(10, 4)) == 0
