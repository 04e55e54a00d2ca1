"""Draw a round's cohort, by the seed, the round, the number of clients and the participation."""

from collections.abc import Mapping

import numpy as np

from fedssl.base.seeding import numpy_generator


def cohort_size(clients: int, participation: float) -> int:
    """Return the number of clients that take part in a round, at least 1.

    >>> cohort_size(10, 0.25)
    2
    """
    return max(1, round(participation * clients))


def draw_cohort(seed: int, server_round: int, sizes: np.ndarray, participation: float) -> list[int]:
    """Draw the clients of a round.

    Parameters
    ----------
    seed, server_round : int
        The seed and the round, from which the random numbers derive.
    sizes : np.ndarray
        int64 [K]: the number of examples of each client.
    participation : float
        The share of the K clients to draw; at least one is drawn.

    Returns
    -------
    list[int]
        The cohort by descending number of examples, then client number, so that the longest work
        starts first. Replies are merged in the same order.
    """
    clients = len(sizes)
    count = cohort_size(clients, participation)
    generator = numpy_generator(seed, "cohort", server_round)
    cohort = np.sort(generator.choice(clients, size=count, replace=False))
    return [int(client) for client in cohort[np.argsort(-sizes[cohort], kind="stable")]]


def draw_cohort_of_members(
    members: Mapping[int, int], seed: int, server_round: int, participation: float
) -> list[int]:
    """Draw the clients of a round among members, whose numbers may have gaps.

    Without gaps, the draw equals that of `draw_cohort`.

    Parameters
    ----------
    members : Mapping[int, int]
        The number of examples of each member.
    seed, server_round, participation
        As in `draw_cohort`.

    Returns
    -------
    list[int]
        The drawn clients, in the order of `draw_cohort`.
    """
    numbers = sorted(members)
    sizes = np.array([members[number] for number in numbers], np.int64)
    return [numbers[index] for index in draw_cohort(seed, server_round, sizes, participation)]
