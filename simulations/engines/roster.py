"""The roster: the clients that may take part, and the SuperLink's node of each."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


class Roster(Protocol):
    """The clients that may take part now; they may change at any time."""

    @property
    def clients(self) -> Collection[int]:
        """The clients' numbers, ascending."""

    @property
    def nodes(self) -> Mapping[int, int] | None:
        """The client of each node, by the node's key; None where nodes need no registered key."""


@dataclass(frozen=True)
class FixedRoster:
    """A roster that never changes.

    >>> FixedRoster(range(3)).clients
    range(0, 3)
    """

    clients: Collection[int]
    """The clients' numbers."""
    nodes: Mapping[int, int] | None = None
    """The client of each node, by the node's key; None where nodes need no registered key."""
