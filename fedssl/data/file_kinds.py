"""File kinds: which files hold examples, by the suffix of their names."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FileKind:
    """The files that hold a modality's examples, one each."""

    noun: tuple[str, str]
    """The word for one example, and for several: ("image", "images")."""
    suffixes: frozenset[str]
    """The suffixes of readable files, in lower case."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """The suffixes of files of this kind that are not read, and the reason."""

    @property
    def one(self) -> str:
        """The word for one example, with its article."""
        return f"{'an' if self.noun[0][0] in 'aeiou' else 'a'} {self.noun[0]}"

    def count(self, number: int) -> str:
        """Return a number of examples in words."""
        return f"{number:,} {self.noun[number != 1]}"


def suffix(name: str) -> str:
    """Return a file name's suffix in lower case, with its dot; empty if there is none.

    Examples
    --------
    >>> suffix("cats/Tom.JPG")
    '.jpg'
    """
    return os.path.splitext(name)[1].lower()
