"""A folder of example files that a config names, which may hold the splits of a set."""

from dataclasses import dataclass, replace
from pathlib import Path

from fedssl.base.printable import escape_unsafe
from fedssl.data.file_kinds import FileKind
from fedssl.data.layouts import Layout, arrange, splits_of
from fedssl.data.listing import Listing
from fedssl.data.walking import Found, walk


@dataclass(frozen=True)
class Root:
    """A folder, and what lies below it."""

    path: Path
    kind: FileKind
    layout: Layout
    found: Found
    splits: dict[str, str]
    """Its folders that are the splits of a set, by what they are: train, test, val; or none."""

    @classmethod
    def open(cls, path: Path, what: str, kind: FileKind, layout: Layout = "auto") -> "Root":
        """Find the files; ``what`` is what errors call the folder."""
        if not path.is_dir():
            raise ValueError(
                f"{what} = {escape_unsafe(str(path))}: there is no such folder; correct the path"
            )
        try:
            found = walk(str(path), kind)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from None
        return cls(path, kind, layout, found, {} if layout == "domain/class" else splits_of(found))

    def part(self, split: str, what: str) -> Listing:
        """Return the files of a split, train or test; all of them where there are no splits.

        Where there is no test/, val/ is the test.
        """
        if not self.splits:
            return arrange(self.found, self.path, what, self.kind, self.layout)
        name = self.splits.get(split) or self.splits["val"]
        listing = arrange(self.found.below(name), self.path / name, what, self.kind, self.layout)
        folders = [self.splits[each] for each in ("train", "val", "test") if each in self.splits]
        shown = ", ".join(f"{folder}/" for folder in folders)
        note = (
            f"{what}: the splits {shown} of one set found in {escape_unsafe(str(self.path))}, and "
            f"{name}/ taken; set data.layout: domain/class if they are domains"
        )
        return replace(listing, notes=(note, *listing.notes))
