"""What every engine is: a Flower Grid that also keeps what clients keep for themselves."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping

from flwr.app import RecordDict
from flwr.serverapp import Grid

from simulations.record.members import MemberRecord


class Engine(Grid):
    """A Flower Grid whose node n is client n - 1, and that yields replies in the messages' order.

    A client's private state is that of the last round in which its reply counted: what it made of
    itself in a round that did not count is forgotten.
    """

    states: dict[int, RecordDict]
    """What each client keeps from round to round, by its number, as far as it is kept here."""
    repeats: bool = False
    """Whether a round of too few answers may be run again: clients come back."""
    members: MemberRecord | None = None
    """Whose clients come and go: who they were in each round. None: they are the partition's."""

    @abstractmethod
    def settle(self, server_round: int, counted: Collection[int]) -> None:
        """Take note of whose replies counted, once a round has ended; none where it is run again.

        Parameters
        ----------
        server_round : int
            The round.
        counted : Collection[int]
            The clients whose models were merged: all others of the round go on from before it.
        """

    def size_of(self, client: int) -> int | None:
        """Return how many examples a client registered with; None where the partition tells it."""
        return None

    def is_member(self, client: int) -> bool:
        """Say whether a client may still take part; only where clients come and go may it not."""
        return True

    def wait_for_members(self, fault: Callable[[Collection[int]], str | None]) -> Mapping[int, int]:
        """Return the examples of each client that may take part now, once they are enough.

        Parameters
        ----------
        fault : Callable[[Collection[int]], str | None]
            Says why no round can be drawn among these clients; None where one can.

        Raises
        ------
        RunError
            None could for long enough.
        """
        raise NotImplementedError

    def fewest(self, asked: int) -> int:
        """Return how many of so many clients have to answer for a round to count."""
        return 1

    def wait_to_repeat(self, good: int, asked: int) -> None:
        """Return once a round of too few answers may be run again.

        Raises
        ------
        RunError
            That would not help here, or was tried for long enough.
        """
        raise NotImplementedError
