"""The members of a federation, round by round: among them the cohorts are drawn."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

MOST_CLIENTS = 2**20
"""Clients have numbers below this one."""
_LISTED = 20

Number = Annotated[int, Field(ge=0, lt=MOST_CLIENTS)]
Examples = Annotated[int, Field(ge=0, lt=2**40)]


@dataclass(frozen=True)
class MemberChange:
    """The members from a round on."""

    round: Annotated[int, Field(ge=1, strict=True)]
    """The first round whose cohort is drawn among them."""
    members: Mapping[Number, Examples]
    """How many examples each has; 0 for one that never was here."""


class MemberRecord:
    """A run's members by round, as a list of changes.

    Parameters
    ----------
    changes : Sequence[MemberChange]
        Those of a checkpoint, in the order of their rounds.
    on_change : Callable[[MemberChange], None]
        Called with each change that is noted.
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
        """Note who the members are as a round begins, and return whether they changed.

        What was noted of this round or of later ones, which did not finish, is forgotten.
        """
        while self._changes and self._changes[-1].round >= server_round:
            self._changes.pop()
        if self._changes and self._changes[-1].members == members:
            return False
        self._changes.append(MemberChange(server_round, dict(members)))
        self._on_change(self._changes[-1])
        return True

    def members(self, server_round: int) -> Mapping[int, int]:
        """Return the examples of each member of a round, which has begun."""
        found: Mapping[int, int] = {}
        for change in self._changes:
            if change.round <= server_round:
                found = change.members
        return found

    def latest(self) -> Mapping[int, int]:
        """Return the examples of each member of the last round that has begun."""
        return self._changes[-1].members if self._changes else {}


def sizes_of(members: Mapping[int, int]) -> list[int]:
    """Return how many examples each client from number 0 on has: 0 where one is no member."""
    return [members.get(client, 0) for client in range(1 + max(members, default=-1))]


def described(clients: Collection[int]) -> str:
    """Say which clients there are, such as "clients 0 to 3" or "clients 0, 2, 5"."""
    numbers = sorted(clients)
    if not numbers:
        return "no clients"
    if numbers == list(range(len(numbers))):
        return f"clients 0 to {numbers[-1]}"
    more = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
    return f"client{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:_LISTED]))}{more}"
