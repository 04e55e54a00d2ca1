"""A share of each class."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedssl.evaluation.stratified import stratified
from tests.tools.evaluation import rng


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=60), st.floats(0.01, 1), st.integers(0, 9))
def test_each_class_has_its_share(labels: list[int], share: float, seed: int) -> None:
    given = np.array([*labels, 0])
    rows = stratified(given, share, rng(seed))
    assert (np.diff(rows) > 0).all()
    for label in range(5):
        count = int((given == label).sum())
        expected = max(1, round(share * count)) if count else 0
        assert (given[rows] == label).sum() == expected
    assert not (given[rows] < 0).any()


def test_another_seed_draws_others() -> None:
    labels = np.zeros(100, np.int64)
    first, again, other = (stratified(labels, 0.1, rng(seed)).tolist() for seed in (0, 0, 1))
    assert first == again != other
