"""The training and the test files of a data set whose examples are files of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedssl.base.printable import escape_unsafe
from fedssl.data.file_kinds import FileKind
from fedssl.data.layouts import Layout
from fedssl.data.listed import in_order, read_list, with_classes
from fedssl.data.listing import Listing
from fedssl.data.roots import Root
from fedssl.data.select import hold_out
from fedssl.data.where import chosen

_SHOWN = 10


@dataclass(frozen=True)
class Folders:
    """Where a ``data`` section says that its files are, and which of them it wants."""

    kind: FileKind
    train: Path
    """A folder, or a list of files."""
    test: Path | None
    """The same; None takes the test split of ``train``, or holds out a fifth of each class."""
    layout: Layout
    where: Mapping[str, Sequence[str]]
    test_where: Mapping[str, Sequence[str]]

    def listings(self) -> tuple[Listing, Listing]:
        """Return the training and the test files, chosen by ``where`` and ``test_where``.

        Raises
        ------
        ValueError
            They are missing, fit no layout, or are too few.
        """
        root = None
        if self.train.is_file():
            train = read_list(self.train, "data.train", self.kind)
        else:
            root = Root.open(self.train, "data.train", self.kind, self.layout)
            train = root.part("train", "data.train")
        if self.test is None and not (root and root.splits):
            return self._held_out(train)
        if self.test is None:
            assert root is not None
            test = root.part("test", "data.test")
        elif self.test.is_file():
            test = read_list(self.test, "data.test", self.kind)
        else:
            test = Root.open(self.test, "data.test", self.kind, self.layout).part(
                "test", "data.test"
            )
        if self.train.is_file() or (self.test and self.test.is_file()):
            # A list of some examples need not have all classes.
            names = in_order({*train.class_names, *test.class_names})
            train, test = with_classes(train, names), with_classes(test, names)
        return self._chosen(train, test)

    def _chosen(self, train: Listing, test: Listing) -> tuple[Listing, Listing]:
        return (
            train.take(chosen(train, self.where, "data.where")),
            test.take(chosen(test, self.test_where, "data.test_where")),
        )

    def _held_out(self, whole: Listing) -> tuple[Listing, Listing]:
        """Return what is left for training, and what is held out for testing."""
        bare = replace(whole, bad=(), notes=())
        noun = self.kind.noun[1]
        if any(not {*v} & {*self.test_where.get(k, v)} for k, v in self.where.items()):
            train, test = self._chosen(whole, bare)
            note = f"data.test: null; data.test_where takes other {noun} than data.where"
        else:
            rest, held = hold_out(whole.labels)
            if not len(rest) or not len(held):
                raise ValueError(
                    f"data.train = {escape_unsafe(str(self.train))}: too few {noun} to hold out a "
                    "fifth for testing; give data.test"
                )
            train, test = self._chosen(whole.take(rest), bare.take(held))
            each = "each class" if whole.class_names else f"the {noun}"
            note = f"data.test: null, so a fifth of {each} of data.train is held out"
        return train, replace(test, notes=(f"{note}: {self.kind.count(len(test.paths))}",))


def refusal(
    bad: Sequence[tuple[str, str]], total: int, kind: FileKind, where: str = "", fix: str = ""
) -> str:
    """Return the error that lists unreadable files: the first ten, and how many there are.

    Parameters
    ----------
    bad : Sequence[tuple[str, str]]
        Each one's path, and why it cannot be read.
    total : int
        How many files there are.
    kind : FileKind
        What they should be.
    where, fix : str
        What the error begins and ends with.
    """
    start = f"{where}: " if where else ""
    if len(bad) == 1:
        path, reason = bad[0]
        one = f"{start}{escape_unsafe(path)} cannot be read as {kind.one}: {reason}"
        return f"{one}; mend or remove it{fix}"
    problems = [f"{escape_unsafe(path)}: {reason}" for path, reason in bad[:_SHOWN]]
    more = [f"… and {len(bad) - _SHOWN:,} more"] if len(bad) > _SHOWN else []
    many = f"{len(bad):,} of {total:,} files cannot be read as {kind.noun[1]}"
    return "\n  ".join([f"{start}{many}; mend or remove them{fix}", *problems, *more])
