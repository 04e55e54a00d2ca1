"""Which examples of a set are used: the same choice in every run."""

import numpy as np

from fedssl.base.seeding import numpy_generator


def _rank_in_class(labels: np.ndarray, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """Shuffle the examples; return that order, and each place's rank among its class in it."""
    # Seed 0 whatever the experiment's: seeds are to be compared on the same examples.
    order = numpy_generator(0, purpose).permutation(len(labels))
    by_class = np.argsort(labels[order], kind="stable")
    _, counts = np.unique(labels, return_counts=True)
    place = np.arange(len(labels))
    place -= np.repeat(np.cumsum(counts) - counts, counts)
    rank = np.empty_like(place)
    rank[by_class] = place
    return order, rank


def balanced(labels: np.ndarray, limit: int | None) -> np.ndarray:
    """Choose ``limit`` examples, as even over the classes as they allow.

    Parameters
    ----------
    labels : np.ndarray
        int64 [N]; -1 (no label) counts as one more class.
    limit : int | None
        How many; None for all.

    Returns
    -------
    np.ndarray
        int64 [min(limit, N)], ascending.

    Examples
    --------
    >>> balanced(np.array([0, 0, 0, 0, 1, 1]), limit=2).size
    2
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    order, rank = _rank_in_class(labels, "limit")
    # Only those that may be among the first are sorted: limits are small, sets may be large.
    first = np.flatnonzero(rank <= np.partition(rank, limit - 1)[limit - 1])
    return np.sort(order[first[np.argsort(rank[first], kind="stable")[:limit]]])


def hold_out(labels: np.ndarray, share: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Split a set that comes without a test split.

    Parameters
    ----------
    labels : np.ndarray
        int64 [N]; -1 (no label) counts as one more class.
    share : float, default 0.2
        How much of each class is held out.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        int64 [M] and [N - M], ascending: the training examples, and those held out. A class's
        share is rounded to the nearest example.

    Examples
    --------
    >>> rest, held = hold_out(np.array([0] * 10 + [1] * 5))
    >>> len(rest), len(held)
    (12, 3)
    """
    order, rank = _rank_in_class(labels, "hold-out")
    _, code, counts = np.unique(labels[order], return_inverse=True, return_counts=True)
    held = rank < np.round(counts * share)[code]
    return np.sort(order[~held]), np.sort(order[held])
