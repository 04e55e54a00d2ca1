"""The members of a federation in each round, from whom the cohorts are drawn."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

MOST_CLIENTS = 2**20
"""The numbers of clients are less than this."""
_LISTED = 20

Number = Annotated[int, Field(ge=0, lt=MOST_CLIENTS)]
Examples = Annotated[int, Field(ge=0, lt=2**40)]


@dataclass(frozen=True)
class MemberChange:
    """A change of the members: those from a round on."""

    round: Annotated[int, Field(ge=1, strict=True)]
    """The first round whose cohort is drawn from them."""
    members: Mapping[Number, Examples]
    """The number of examples of each member; 0 for one that never connected."""


class MemberRecord:
    """A run's members by round, as a list of changes.

    >>> record = MemberRecord()
    >>> record.begin(1, {0: 10, 2: 5})
    True
    >>> record.members(3)
    {0: 10, 2: 5}

    Parameters
    ----------
    changes : Sequence[MemberChange]
        The changes from a checkpoint, in the order of their rounds.
    on_change : Callable[[MemberChange], None]
        Called with each new change.
    """

    def __init__(
        self,
        changes: Sequence[MemberChange] = (),
        on_change: Callable[[MemberChange], None] = lambda _: None,
    ):
        self._changes = list(changes)
        self._on_change = on_change

    @property
    def changes(self) -> tuple[MemberChange, ...]:
        """The changes so far."""
        return tuple(self._changes)

    def begin(self, server_round: int, members: Mapping[int, int]) -> bool:
        """Record the members as a round begins, and return whether they changed.

        Changes of this or later rounds, which did not finish, are removed.
        """
        while self._changes and self._changes[-1].round >= server_round:
            self._changes.pop()
        if self._changes and self._changes[-1].members == members:
            return False
        self._changes.append(MemberChange(server_round, dict(members)))
        self._on_change(self._changes[-1])
        return True

    def members(self, server_round: int) -> Mapping[int, int]:
        """Return the number of examples of each member of a round that has begun."""
        members: Mapping[int, int] = {}
        for change in self._changes:
            if change.round <= server_round:
                members = change.members
        return members

    def latest(self) -> Mapping[int, int]:
        """Return the number of examples of each member of the last round that has begun."""
        return self._changes[-1].members if self._changes else {}


def sizes_of(members: Mapping[int, int]) -> list[int]:
    """Return the number of examples of each client, from client 0; 0 for one that is no member.

    >>> sizes_of({0: 10, 2: 5})
    [10, 0, 5]
    """
    return [members.get(client, 0) for client in range(1 + max(members, default=-1))]


def describe_clients(clients: Collection[int]) -> str:
    """Return the clients in words.

    >>> describe_clients([0, 1, 2]), describe_clients([5, 0, 2])
    ('clients 0 to 2', 'clients 0, 2, 5')
    """
    numbers = sorted(clients)
    if not numbers:
        return "no clients"
    if numbers == list(range(len(numbers))):
        return f"clients 0 to {numbers[-1]}"
    more = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
    return f"client{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:_LISTED]))}{more}"
