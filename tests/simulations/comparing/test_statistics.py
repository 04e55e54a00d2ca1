import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simulations.comparing.statistics import (
    equivalence,
    estimate,
    holm,
    over_test_examples,
    paired_t,
    sign_flip,
    smallest_p,
)

DIFFERENCES = [1.2, -0.4, 2.1, 0.9, 1.7]


def test_the_t_interval_is_that_of_the_tables() -> None:
    # t(0.975, 2) = 4.303, as any table has it.
    result = estimate([48.5, 48.8, 46.5])
    half = 4.302653 * np.std([48.5, 48.8, 46.5], ddof=1) / 3**0.5
    assert result.mean == pytest.approx(47.9333, abs=1e-4)
    assert (result.low, result.high) == pytest.approx((result.mean - half, result.mean + half))
    assert result.seeds == 3
    low, high = stats.ttest_1samp(DIFFERENCES, 0).confidence_interval(0.95)
    again = estimate(DIFFERENCES)
    assert (again.low, again.high) == pytest.approx((low, high))


def test_p_is_that_of_scipy_on_the_pairs() -> None:
    other = np.array([40.0, 42.5, 39.1, 41.0, 40.3])
    assert paired_t(DIFFERENCES) == pytest.approx(
        stats.ttest_rel(other + DIFFERENCES, other).pvalue
    )


@pytest.mark.parametrize("values", [[3.0], [0.5, 0.5], [0.1 + 0.2, 0.3, 0.3]])
def test_without_spread_there_is_no_interval_and_nothing_is_shown(values: list[float]) -> None:
    result = estimate(values)
    assert (result.low, result.high, result.half) == (None, None, None)
    assert paired_t(values) == 1
    assert equivalence(values) == 1


def test_equivalence_is_two_one_sided_tests() -> None:
    close = [0.2, -0.1, 0.1, 0.3, -0.2]
    above = stats.ttest_1samp(close, -1, alternative="greater").pvalue
    below = stats.ttest_1samp(close, 1, alternative="less").pvalue
    assert equivalence(close) == pytest.approx(max(above, below))
    assert equivalence(close) < 0.05
    # Far apart, or too noisy to say: neither is equivalent.
    assert equivalence([5.0, 5.1, 4.9, 5.2, 5.0]) > 0.99
    assert equivalence([3.0, -3.0, 4.0, -4.0, 0.5]) > 0.05
    # It agrees with the 90 % interval, as the method has it.
    low, high = stats.ttest_1samp(close, 0).confidence_interval(0.90)
    assert low > -1
    assert high < 1


def test_sign_flips_are_counted_one_by_one_from_eight_seeds_on() -> None:
    assert sign_flip([1.0] * 7) is None
    assert sign_flip([1.0] * 21) is None
    values = [0.7, -0.2, 1.1, 0.4, 0.9, -0.5, 0.3, 1.6, 0.1]
    observed = abs(sum(values))
    extreme = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) >= observed - 1e-12
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    assert sign_flip(values) == pytest.approx(np.mean(extreme))
    paired = stats.permutation_test(
        (np.array(values), np.zeros(9)), lambda x, y: np.mean(x - y), permutation_type="samples"
    )
    assert sign_flip(values) == pytest.approx(paired.pvalue)


def test_the_smallest_p_of_sign_flips_is_reached_where_all_agree() -> None:
    assert [smallest_p(n) for n in (1, 3, 8)] == [1, 0.25, 2 / 256]
    assert sign_flip([0.1 * n + 0.1 for n in range(8)]) == smallest_p(8)


def test_holm_on_known_numbers() -> None:
    # The worked example of Holm's procedure: m·p, (m−1)·p, … and never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms())
def test_holm_never_lowers_a_p_never_reorders_and_ignores_the_order(
    p_values: list[float], random: object
) -> None:
    adjusted = holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [a for _, a in pairs] == sorted(a for _, a in pairs)
    assert holm(p_values[::-1]) == adjusted[::-1]
    # By the definition: refused at the level iff all smaller ones are, each at its own share.
    for level in (0.05, 0.3):
        refused = set()
        for place, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if p_values[number] * (len(p_values) - place) > level:
                break
            refused.add(number)
        assert refused == {n for n, a in enumerate(adjusted) if a <= level}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_resampled_interval_is_that_of_the_central_limit(seed: int) -> None:
    draws = np.random.default_rng(seed)
    difference = draws.choice(
        [-1.0, -1 / 3, 0.0, 1 / 3, 1.0], size=1500, p=[0.1, 0.1, 0.5, 0.1, 0.2]
    )
    low, high = over_test_examples(difference)
    center, error = 100 * difference.mean(), 100 * difference.std() / 1500**0.5
    assert (low, high) == pytest.approx((center - 1.96 * error, center + 1.96 * error), abs=0.35)
    assert (low, high) == over_test_examples(difference)


def test_resampling_equal_predictions_gives_nothing() -> None:
    assert over_test_examples(np.zeros(50)) == (0, 0)
