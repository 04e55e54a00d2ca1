"""The draw of a round's cohort: it depends on the seed and the round alone."""

from collections.abc import Mapping

import numpy as np

from fedssl.base.seeding import numpy_generator


def cohort_size(clients: int, participation: float) -> int:
    """Return how many of the clients take part in a round; at least one does."""
    return max(1, round(participation * clients))


def draw_cohort(seed: int, server_round: int, sizes: np.ndarray, participation: float) -> list[int]:
    """Draw the clients of a round.

    Parameters
    ----------
    seed, server_round : int
        They alone decide the draw.
    sizes : np.ndarray
        int64 [K]: how many examples each client has.
    participation : float
        The share of the K clients to draw; at least one is.

    Returns
    -------
    list[int]
        The cohort by descending size, then number: the longest work starts first. It is also the
        order in which replies are merged.
    """
    clients = len(sizes)
    count = cohort_size(clients, participation)
    draws = numpy_generator(seed, "cohort", server_round)
    cohort = np.sort(draws.choice(clients, size=count, replace=False))
    return [int(client) for client in cohort[np.argsort(-sizes[cohort], kind="stable")]]


def draw_among(
    members: Mapping[int, int], seed: int, server_round: int, participation: float
) -> list[int]:
    """Draw the clients of a round among members, whose numbers may have gaps.

    Without gaps, it is the draw of `draw_cohort`.

    Parameters
    ----------
    members : Mapping[int, int]
        How many examples each has.
    seed, server_round, participation
        As `draw_cohort` takes them.

    Returns
    -------
    list[int]
        Their numbers, by descending size, then number.
    """
    numbers = sorted(members)
    sizes = np.array([members[number] for number in numbers], np.int64)
    return [numbers[place] for place in draw_cohort(seed, server_round, sizes, participation)]
