"""Numpy archives of examples, checked before they are read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from fedssl.data.archive import Archive
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.listed import in_order
from fedssl.data.select import hold_out

MOST_CLASSES = 100_000


class Arrays(ABC):
    """One split of an ``.npz`` file: examples, and what is known of each.

    Beside the examples it may hold ``labels`` (integers [N] or [N, 1], -1 for none; or names, empty
    for none), ``class_names`` (strings [C]) and further columns of integers or strings [N]. One
    file may hold both splits, each array with the prefix ``train_`` or ``test_``.

    Parameters
    ----------
    what : str
        What errors call it, such as ``data.train``.
    path : Path
        The file.
    split : {"train", "test"}
        Which split is read, where it holds both.

    Raises
    ------
    ValueError
        It is missing or malformed.
    """

    keys: ClassVar[tuple[str, ...]]
    """The arrays that may hold the examples; the first that is there is read."""
    parts: ClassVar[tuple[str, ...]] = ()
    """Further arrays that are no columns."""
    noun: ClassVar[str]
    """What errors call the examples."""

    def __init__(self, what: str, path: Path, split: str):
        self._what, self._path = what, path
        with Archive(path, self.wrong) as archive:
            members = list(archive.members)
            self.prefix, key = self._find(members, split)
            self._count = self.check(archive, key)
            self.examples = self.read(archive, key)
            names = {n: n.removeprefix(self.prefix) for n in members if n.startswith(self.prefix)}
            for key_in_split in (*self.keys, *self.parts):
                names.pop(self.prefix + key_in_split, None)
            if "class_names" in members:
                names["class_names"] = "class_names"
            self.columns = {
                key_in_split: archive.read(name)
                for name, key_in_split in names.items()
                if self._is_column(archive, name, key_in_split)
            }
        self.labels = self.columns.pop("labels", np.full(self._count, -1))
        self.names = self.columns.pop("class_names", None)
        self._check_labels()
        self.notes = self._notes(members, key)

    @abstractmethod
    def check(self, archive: Archive, key: str) -> int:
        """Return how many examples there are, by what the arrays claim, before any is read.

        Raises
        ------
        ValueError
            They are of a wrong type or shape.
        """

    @abstractmethod
    def read(self, archive: Archive, key: str) -> Tensor:
        """Return the examples as they are stored in a data set, [N, …]."""

    def wrong(self, problem: str) -> ValueError:
        """Return an error of what is wrong with the file."""
        return ValueError(f"{self._what} = {self._path}: {problem}")

    def _find(self, members: Sequence[str], split: str) -> tuple[str, str]:
        """Return the prefix of the split's arrays, and which of them holds the examples."""
        for prefix in ("", f"{split}_"):
            for wanted_key in self.keys:
                if prefix + wanted_key in members:
                    return prefix, prefix + wanted_key
        names = " or ".join(f"`{wanted_key}`" for wanted_key in self.keys)
        others = " or ".join(f"`{split}_{wanted_key}`" for wanted_key in self.keys)
        raise self.wrong(
            f"has no array {names} (nor {others}), only {', '.join(members[:20]) or 'nothing'}"
        )

    def _is_column(self, archive: Archive, name: str, key: str) -> bool:
        """Check an array before it is read."""
        shape, dtype = archive.members[name]
        if key == "class_names":
            if dtype.kind != "U" or len(shape) != 1:
                raise self.wrong("`class_names` must be a list of strings")
            return True
        if dtype.kind not in "iuU":
            kinds = "store integers, -1 for no label, or names"
            other = "a column must hold integers or strings"
            raise self.wrong(f"`{name}` is {dtype}: {kinds if key == 'labels' else other}")
        fits = [(self._count,), (self._count, 1)] if key == "labels" else [(self._count,)]
        if shape not in fits:
            hint = ": one label for each is needed" if key == "labels" and len(shape) == 2 else ""
            raise self.wrong(
                f"`{name}` has the shape {list(shape)}, but there are {self._count} "
                f"{self.noun}{hint}"
            )
        return True

    def _check_labels(self) -> None:
        self.labels = self.labels.reshape(-1)
        if self.labels.dtype.kind == "U":
            return
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < -1 or high >= MOST_CLASSES:
            raise self.wrong(
                f"`labels` go from {low} to {high}: use 0 to the number of classes less one (at "
                f"most {MOST_CLASSES:,} classes), and -1 for no label"
            )

    def _notes(self, members: Sequence[str], key: str) -> tuple[str, ...]:
        if not self.prefix:
            return ()
        notes = [f"{self._what}: read from `{key}`: {self._count:,} {self.noun}"]
        unused = "val_" + key.removeprefix(self.prefix)
        if unused in members and self.prefix == "test_":
            notes.append(f"{self._what}: `{unused}` is not used")
        return tuple(notes)

    def dataset(self, class_names: tuple[str, ...]) -> Dataset:
        """Return the examples, whose labels are places among ``class_names``."""
        labels, names = self.labels, class_names
        if labels.dtype.kind == "U":
            labels = self._numbered(labels, class_names)
        elif self.names is not None:
            names = tuple(self.names.tolist())
        fields, field_names = {}, {}
        for name, values in self.columns.items():
            if values.dtype.kind == "U":
                texts, values = np.unique(values, return_inverse=True)
                field_names[name] = tuple(texts.tolist())
            fields[name] = values.astype(np.int64)
        labelled = torch.from_numpy(labels.astype(np.int64))
        return Dataset(self.examples, labelled, names, fields, field_names)

    def _numbered(self, labels: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
        texts, code = np.unique(labels, return_inverse=True)
        place: Mapping[str, int] = {name: number for number, name in enumerate(class_names)}
        missing = [text for text in texts.tolist() if text and text not in place]
        if missing:
            raise self.wrong(f"`labels` has {missing[0]!r}, which is not among `class_names`")
        return np.array([place.get(text, -1) for text in texts.tolist()], np.int64)[code]


def read_archives(
    split: Callable[[str, Path, str], Arrays], train: Path, test: Path | None
) -> Splits:
    """Read both splits.

    Parameters
    ----------
    split : Callable[[str, Path, str], Arrays]
        Reads one of them; see `Arrays`.
    train : Path
        The file of the training examples.
    test : Path | None
        That of the test examples; None takes them from ``train`` where it holds both, and else
        holds out a fifth of each class.

    Raises
    ------
    ValueError
        A file is missing or malformed.
    """
    first = split("data.train", train, "train")
    if test is None and not first.prefix:
        return _held_out(first)
    second = split("data.test", train if test is None else test, "test")
    names = class_names(first, second)
    notes = (*first.notes, *second.notes)
    return Splits(first.dataset(names), second.dataset(names), notes=notes)


def _held_out(whole: Arrays) -> Splits:
    dataset = whole.dataset(class_names(whole))
    kept, held = hold_out(dataset.labels.numpy())
    if not len(kept) or not len(held):
        raise whole.wrong(f"too few {whole.noun} to hold out a fifth for testing; give data.test")
    told = f"data.test: null, so a fifth of data.train is held out: {len(held):,} {whole.noun}"
    return Splits(dataset.take(kept), dataset.take(held), notes=(*whole.notes, told))


def class_names(*files: Arrays) -> tuple[str, ...]:
    """Return the names given, or else the labels themselves as names."""
    for arrays in files:
        if arrays.names is not None:
            return tuple(arrays.names.tolist())
    kinds = {arrays.labels.dtype.kind == "U" for arrays in files}
    if kinds == {True, False}:
        raise files[-1].wrong("`labels` are numbers in one file and names in the other")
    if kinds == {True}:
        return in_order({name for a in files for name in np.unique(a.labels).tolist() if name})
    return tuple(map(str, range(max(int(arrays.labels.max()) for arrays in files) + 1)))


def write_archive(dataset: Dataset, name: str, examples: np.ndarray, path: Path) -> Path:
    """Write examples under a name, with the labels of their data set; return the ``.npz`` file.

    ``path`` is the file's without its suffix.
    """
    file = path.with_name(f"{path.name}.npz")
    labels, class_names = dataset.labels.numpy(), np.array(dataset.class_names, dtype=str)
    np.savez(file, **{name: examples, "labels": labels, "class_names": class_names})  # type: ignore[arg-type]
    return file
