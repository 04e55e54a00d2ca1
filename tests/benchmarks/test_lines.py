import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.lines import TOLERANCE, line_through

X = [10, 30, 100, 300, 1000]


@given(st.floats(0, 100), st.floats(1e-3, 100), st.integers(2, 5))
def test_a_straight_line_is_found_again(fixed: float, slope: float, count: int) -> None:
    line = line_through(X[:count], [fixed + slope * x for x in X[:count]])
    assert [line.at(x) for x in X] == pytest.approx([fixed + slope * x for x in X], rel=1e-6)
    assert line.bend is None


@pytest.mark.parametrize(
    ("y", "fixed", "slope"), [([1, 4, 9], 0, 66 / 49), ([4, 4, 3], 60 / 17, 0), ([1, 1, 1], 1, 0)]
)
def test_neither_part_is_negative(y: list[float], fixed: float, slope: float) -> None:
    line = line_through([1, 2, 3], y)
    assert (line.fixed, line.slope) == pytest.approx((fixed, slope), abs=1e-9)


def test_each_point_counts_alike() -> None:
    noisy = [1.1, 2.7, 11, 27, 110]
    line = line_through(X, noisy)
    assert np.abs(np.log([line.at(x) / y for x, y in zip(X, noisy, strict=True)])).max() < 0.12


@pytest.mark.parametrize("factor", [0.6, 2.0])
def test_a_bend_is_the_first_point_that_leaves_the_line_and_does_not_move_it(
    factor: float,
) -> None:
    costs = [1 + x for x in X[:3]] + [factor * (1 + x) for x in X[3:]]
    line = line_through(X, costs)
    assert line.bend == 3
    assert (line.fixed, line.slope, line.excess) == pytest.approx((1, 1, factor))


def test_a_point_that_is_off_alone_is_no_bend_unless_it_is_the_last() -> None:
    for place, bend in ((3, None), (4, 4)):
        costs = [float(x) for x in X]
        costs[place] *= 2
        assert line_through(X, costs).bend == bend


def test_what_the_tolerance_allows_is_no_bend() -> None:
    for excess, bend in ((TOLERANCE - 0.01, None), (TOLERANCE + 0.01, 4)):
        assert line_through(X, [*X[:4], (1 + excess) * X[4]]).bend == bend


@pytest.mark.parametrize(
    ("x", "y"), [([1], [1]), ([1, 2], [1]), ([1, 2], [0, 1]), ([2, 1], [1, 1]), ([0, 1], [1, 1])]
)
def test_other_points_are_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="costs"):
        line_through(x, y)
