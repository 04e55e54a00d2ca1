"""Find the files of one kind below a folder."""

import os
from collections import Counter
from dataclasses import dataclass, field

from fedssl.base.printable import escape_unsafe
from fedssl.data.file_kinds import FileKind, suffix

_DEEPEST = 32
_MOST = 1_000_000
"""Folders: more are links that lead to each other."""


@dataclass
class Found:
    """The files below a folder, without hidden ones."""

    folders: list[tuple[tuple[str, ...], list[str]]] = field(default_factory=list)
    """The names of each folder that holds such files, from the root's on, and its files, sorted."""
    bad: list[tuple[tuple[str, ...], str, str]] = field(default_factory=list)
    """Unreadable files of the kind: their folder's names, their path, and the reason."""
    others: Counter[str] = field(default_factory=Counter)
    """How many files are of other kinds, by suffix."""

    def below(self, name: str) -> "Found":
        """Return the files below one of the root's folders."""
        return Found(
            [(parts[1:], files) for parts, files in self.folders if parts[:1] == (name,)],
            [(parts[1:], path, why) for parts, path, why in self.bad if parts[:1] == (name,)],
            self.others,
        )

    def seen(self) -> str:
        """Return the numbers of other and unreadable files by suffix; empty if there are none."""
        bad = Counter(suffix(path) or "links" for _, path, _ in self.bad)
        counts = sorted((self.others + bad).items(), key=lambda item: (-item[1], item[0]))
        shown = [f"{count:,} {name}" for name, count in counts[:8]]
        return ", ".join(shown) + (f" and {len(counts) - 8} other kinds" if counts[8:] else "")


def walk(root: str, kind: FileKind) -> Found:
    """Find the files of a kind below a folder; links to files and folders are followed.

    Raises
    ------
    ValueError
        A link leads back to a folder above it, or a folder cannot be listed.
    """
    found = Found()
    count = 0

    def visit(folder: str, parts: tuple[str, ...], above: frozenset[tuple[int, int]]) -> None:
        nonlocal count
        count += 1
        if len(parts) > _DEEPEST or count > _MOST:
            raise ValueError(
                f"{escape_unsafe(folder)}: lies more than {_DEEPEST} folders deep, or there are "
                f"more than {_MOST:,} folders; see whether links lead back"
            )
        files, folders = [], []
        try:
            here = os.stat(folder)
            if (here.st_dev, here.st_ino) in above:
                raise ValueError(
                    f"{escape_unsafe(folder)}: is a link to a folder above it, so it has no end; "
                    "remove it"
                )
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if _is_folder(entry):
                        folders.append(entry.name)
                        continue
                    ending = suffix(entry.name)
                    if entry.is_symlink() and not os.path.exists(entry.path):
                        found.bad.append((parts, entry.path, "it is a link to nothing"))
                    elif ending in kind.suffixes:
                        files.append(entry.path)
                    elif ending in kind.unreadable:
                        found.bad.append((parts, entry.path, kind.unreadable[ending]))
                    else:
                        found.others[escape_unsafe(ending) or "without suffix"] += 1
        except OSError as error:
            raise ValueError(
                f"{escape_unsafe(folder)}: cannot be listed ({error.strerror})"
            ) from None
        if files:
            found.folders.append((parts, sorted(files)))
        for name in sorted(folders):
            visit(
                os.path.join(folder, name),
                (*parts, escape_unsafe(name)),
                above | {(here.st_dev, here.st_ino)},
            )

    visit(root, (), frozenset())
    found.bad.sort(key=lambda one: one[1])
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
