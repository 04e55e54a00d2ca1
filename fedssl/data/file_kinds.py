"""Files by how their names end: which of them hold examples."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FileKind:
    """The files that hold a modality's examples, one each."""

    noun: tuple[str, str]
    """What one is called, and several: ("image", "images")."""
    suffixes: frozenset[str]
    """How the names of those that can be read end, in lower case."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """How the names of others of the kind end, and why they are not read."""

    @property
    def one(self) -> str:
        """What one is called, with its article."""
        return f"{'an' if self.noun[0][0] in 'aeiou' else 'a'} {self.noun[0]}"

    def count(self, number: int) -> str:
        """Return a number of examples in words."""
        return f"{number:,} {self.noun[number != 1]}"


def suffix(name: str) -> str:
    """Return how a file's name ends, in lower case, with its dot; empty where it has none."""
    return os.path.splitext(name)[1].lower()
