"""Which clients may take part, and which node of the SuperLink each is."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


class Roster(Protocol):
    """The clients that may take part now: another moment's may be others."""

    @property
    def clients(self) -> Collection[int]:
        """Their numbers, ascending."""

    @property
    def nodes(self) -> Mapping[int, int] | None:
        """Which client each node is by its key; None where keys are not asked for."""


@dataclass(frozen=True)
class FixedRoster:
    """Clients that stay the same."""

    clients: Collection[int]
    """Their numbers."""
    nodes: Mapping[int, int] | None = None
    """Which client each node is by its key; None where keys are not asked for."""
