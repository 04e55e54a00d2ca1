"""The statistics of a comparison: for few seeds, paired, and never more sure than the runs allow.

All are functions of plain arrays. Differences are in points (per cent of the test examples).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05
"""Intervals cover 1 − LEVEL; a difference is shown where its adjusted p is below LEVEL."""
MARGIN = 1.0
"""Points within which two strategies count as equivalent."""
SIGN_FLIPS_FROM = 8
"""The fewest seeds with which sign flips are tested: with 7 no p is below 2/2⁷ = 0.016, and few
stay below 0.05 after Holm's adjustment."""
RESAMPLES = 2000
"""How often test examples, or seeds, are resampled."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its t interval; without spread or with one seed there is none."""

    mean: float
    low: float | None
    high: float | None
    seeds: int

    @property
    def half(self) -> float | None:
        """Half of the interval's width."""
        return None if self.high is None else self.high - self.mean


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of n values and its interval mean ± t(1 − α/2, n − 1)·s/√n.

    Raises
    ------
    ValueError
        There are no values.
    """
    if not len(values):
        raise ValueError("a mean needs at least one value")
    data = np.asarray(values, float)
    mean = float(data.mean())
    error = _standard_error(data)
    if error is None:
        return Estimate(mean, None, None, len(data))
    half = float(stats.t.ppf(1 - LEVEL / 2, len(data) - 1)) * error
    return Estimate(mean, mean - half, mean + half, len(data))


def _standard_error(data: np.ndarray) -> float | None:
    """Return s/√n, or None where there is no spread to tell it from.

    Values that are equal but for rounding have none: accuracies are counts of examples, so a few
    equal differences are chance, not certainty.
    """
    if len(data) < 2:
        return None
    error = float(data.std(ddof=1)) / len(data) ** 0.5
    return error if error > 1e-9 * max(1.0, float(np.abs(data).max())) else None


def paired_t(differences: Sequence[float]) -> float:
    """Return the two-sided p of a paired t test; 1 where the differences have no spread."""
    data = np.asarray(differences, float)
    error = _standard_error(data)
    if error is None:
        return 1.0
    return float(2 * stats.t.sf(abs(data.mean()) / error, len(data) - 1))


def equivalence(differences: Sequence[float], margin: float = MARGIN) -> float:
    """Return the p of two one-sided t tests that the mean lies within ±``margin``.

    It is the larger of both tests' p (Schuirmann, "A comparison of the two one-sided tests
    procedure and the power approach", 1987): small where both that it lies below and that it lies
    above can be refused. 1 where the differences have no spread.
    """
    data = np.asarray(differences, float)
    error = _standard_error(data)
    if error is None:
        return 1.0
    mean, freedom = float(data.mean()), len(data) - 1
    return float(
        max(
            stats.t.sf((mean + margin) / error, freedom),
            stats.t.cdf((mean - margin) / error, freedom),
        )
    )


def sign_flip(differences: Sequence[float]) -> float | None:
    """Return the exact two-sided p under flips of the differences' signs, from 8 seeds on.

    The share of all 2ⁿ choices of signs whose mean is at least as far from 0 as the one observed.
    None with fewer seeds, or with more than 20, for which there are too many choices to go through.
    """
    data = np.asarray(differences, float)
    count = len(data)
    if not SIGN_FLIPS_FROM <= count <= 20:
        return None
    sums = np.zeros(1)
    for difference in data:
        sums = np.concatenate([sums + difference, sums - difference])
    observed = abs(data.sum())
    return float((np.abs(sums) >= observed - 1e-9 * max(1.0, observed)).mean())


def smallest_p(seeds: int) -> float:
    """Return the smallest p that sign flips of n seeds can give: 2/2ⁿ.

    >>> smallest_p(5)
    0.0625
    """
    return min(1.0, 2.0 ** (1 - seeds))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p values of a family, so that any false alarm has at most the probability LEVEL.

    Holm, "A simple sequentially rejective multiple test procedure", 1979: the i-th smallest of m is
    multiplied by m − i + 1, none below the one before it, none above 1.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [1.0] * len(p_values)
    least = 0.0
    for place, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[number]))
        adjusted[number] = least
    return adjusted


def over_test_examples(difference: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the percentile interval of a mean when the test examples are resampled.

    Parameters
    ----------
    difference : np.ndarray
        float [M]: for each test example the difference between two strategies in how often it was
        classified correctly, the mean over the seeds, which share these examples. Between −1 and 1.
    seed : int
        The seed of the resampling.

    Returns
    -------
    tuple[float, float]
        The ends of the interval in points. It shows how other test examples would change the
        result of the same models; the t interval shows how much the models themselves vary.
    """
    draws = np.random.default_rng(seed)
    values, counts = np.unique(np.round(difference, 9), return_counts=True)
    # Drawing M examples with replacement is drawing how many there are of each value.
    drawn = draws.multinomial(len(difference), counts / len(difference), size=RESAMPLES)
    means = 100 * (drawn @ values) / len(difference)
    low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)
