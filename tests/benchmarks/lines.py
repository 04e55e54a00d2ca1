"""Straight lines through measured costs, and where the costs leave them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

TOLERANCE = 0.3
"""How far from the line, as a share of it, a cost may lie: processors shared with others vary by a
tenth or two from minute to minute."""
FEWEST = 3
"""The points through which a line is drawn at least."""


@dataclass(frozen=True)
class Line:
    """A cost as a fixed part and a part that grows in proportion."""

    fixed: float
    slope: float
    bend: int | None = None
    """Which point is the first to lie off the line, which is then drawn through those before it."""
    excess: float | None = None
    """That point's cost as a multiple of the line's."""

    def at(self, x: float) -> float:
        """Return the line's cost at a place."""
        return self.fixed + self.slope * x


def line_through(x: Sequence[float], y: Sequence[float]) -> Line:
    """Draw a line, and find the bend: the first point from which on all leave it to one side.

    Whether a point bends is judged by the line through the points before it, so that what comes
    after a bend does not hide it; all points from there on lie off by more than `TOLERANCE`.

    Parameters
    ----------
    x : Sequence[float]
        Where costs should grow in proportion, positive and ascending.
    y : Sequence[float]
        The costs, positive.

    Raises
    ------
    ValueError
        There are fewer than two points, or they are not as said above.
    """
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(f"{len(x)} places and {len(y)} costs: a line needs two of each or more")
    if min(*x, *y) <= 0 or any(after <= before for before, after in pairwise(x)):
        raise ValueError(f"places {list(x)}, costs {list(y)}: must be positive, places ascending")
    for place in range(FEWEST, len(x)):
        fixed, slope = _fit(x[:place], y[:place])
        line = Line(fixed, slope)
        ratios = [b / line.at(a) for a, b in zip(x[place:], y[place:], strict=True)]
        if min(ratios) > 1 + TOLERANCE or max(ratios) < 1 - TOLERANCE:
            return Line(fixed, slope, bend=place, excess=ratios[0])
    return Line(*_fit(x, y))


def _fit(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return the fixed part and the slope, neither negative, of the least relative squares."""
    places, costs = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    # Each point counts alike, although costs lie orders of magnitude apart.
    terms = np.stack([1 / costs, places / costs], axis=1)
    fixed, slope = np.linalg.lstsq(terms, np.ones(len(costs)))[0].tolist()
    if fixed < 0 or slope < 0:
        alone = terms.sum(axis=0) / np.square(terms).sum(axis=0)
        fixed, slope = (0.0, float(alone[1])) if fixed < 0 else (float(alone[0]), 0.0)
    return fixed, slope
