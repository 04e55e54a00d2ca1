"""The interface of all engines: a Flower Grid that also holds the clients' private states."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping

from flwr.app import RecordDict
from flwr.serverapp import Grid

from simulations.record.members import MemberRecord


class Engine(Grid):
    """A Flower Grid whose node n is client n - 1, and that yields replies in the messages' order.

    A client's private state is that after the last round in which its reply was merged. The state
    after a round whose reply was not merged is discarded.
    """

    states: dict[int, RecordDict]
    """The private state of each client that the engine stores, by the client's number."""
    repeats: bool = False
    """Whether a round with too few replies may be run again, since clients may come back."""
    members: MemberRecord | None = None
    """The members in each round where clients come and go; None where they are the partition's."""

    @abstractmethod
    def commit_states(self, server_round: int, counted: Collection[int]) -> None:
        """Keep the new private states of clients whose replies were merged; discard all others.

        Called once a round has ended; with no clients where the round is run again.

        Parameters
        ----------
        server_round : int
            The round that has ended.
        counted : Collection[int]
            The clients whose models were merged. All others of the round go back to the state that
            they had before it.
        """

    def size_of(self, client: int) -> int | None:
        """Return the number of examples that a client registered; None to use the partition's."""
        return None

    def is_member(self, client: int) -> bool:
        """Return whether a client may still take part: False only where clients come and go."""
        return True

    def wait_for_members(self, fault: Callable[[Collection[int]], str | None]) -> Mapping[int, int]:
        """Wait until enough clients may take part; return the number of examples of each.

        Parameters
        ----------
        fault : Callable[[Collection[int]], str | None]
            Returns an error where no cohort can be drawn from these clients, else None.

        Raises
        ------
        RunError
            Too few clients could take part for too long.
        """
        raise NotImplementedError

    def min_replies(self, cohort_size: int) -> int:
        """Return how many clients of a cohort must answer for the round to count."""
        return 1

    def wait_to_repeat(self, succeeded: int, cohort_size: int) -> None:
        """Wait until a round with too few replies may be run again.

        Raises
        ------
        RunError
            Another try would not help, or the time for tries is over.
        """
        raise NotImplementedError
