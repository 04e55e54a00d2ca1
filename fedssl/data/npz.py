"""Numpy archives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from fedssl.data.archive import Archive
from fedssl.data.config import DataConfig
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.listed import in_order
from fedssl.data.select import hold_out
from fedssl.fields import File

MOST_CLASSES = 100_000
_OWN = ("images", "labels", "class_names")


class Npz(DataConfig):
    """When the images are numpy arrays: an .npz file for training and one for testing.

    Each holds ``images`` (uint8 [N, H, W, C] or [N, H, W]) and may hold ``labels`` (integers [N] or
    [N, 1], -1 for none; or names, empty for none), ``class_names`` (strings [C]) and further
    columns of integers or strings [N], such as ``writer``, which a natural partition may split by.
    One file may hold both, as MedMNIST's do: ``train_images``, ``train_labels``, ``test_images``…
    """

    name: Literal["npz"] = "npz"
    """This data set."""
    train: File
    """The .npz file of the training images."""
    test: File | None = None
    """The .npz file of the test images; null takes ``test_images`` of ``train``, where it has them,
    and else holds out a fifth of each class."""

    def read(self) -> Splits:
        """Read both files."""
        train = _Arrays("data.train", self.train, "train")
        if self.test is not None:
            test = _Arrays("data.test", self.test, "test")
        elif train.prefix:
            test = _Arrays("data.test", self.train, "test")
        else:
            return _held_out(train)
        names = _class_names(train, test)
        notes = (*train.notes, *test.notes)
        return Splits(train.dataset(names), test.dataset(names), notes=notes)


def read_npz(what: str, path: Path) -> Dataset:
    """Read one file; ``what`` is what errors call it.

    Raises
    ------
    ValueError
        It is missing, or not what `Npz` says.
    """
    arrays = _Arrays(what, path, "train")
    return arrays.dataset(_class_names(arrays))


def _held_out(whole: "_Arrays") -> Splits:
    dataset = whole.dataset(_class_names(whole))
    kept, held = hold_out(dataset.labels.numpy())
    if not len(kept) or not len(held):
        raise whole.wrong("too few images to hold out a fifth for testing; give data.test")
    told = f"data.test: null, so a fifth of data.train is held out: {len(held):,} images"
    return Splits(dataset.take(kept), dataset.take(held), notes=(*whole.notes, told))


class _Arrays:
    """One split of a file, checked before it is read."""

    def __init__(self, what: str, path: Path, split: str):
        self._what, self._path = what, path
        with Archive(path, self.wrong) as archive:
            there = list(archive.members)
            self.prefix = "" if "images" in there else f"{split}_"
            key = f"{self.prefix}images"
            if key not in there:
                raise self.wrong(
                    f"has no array `images` (nor `{split}_images`), only "
                    + (", ".join(there[:20]) or "nothing")
                )
            self._check_images(archive, key)
            self.images = archive.read(key)
            names = {n: n.removeprefix(self.prefix) for n in there if n.startswith(self.prefix)}
            names.pop(key)
            if "class_names" in there:
                names["class_names"] = "class_names"
            self.columns = {
                own: archive.read(name)
                for name, own in names.items()
                if self._is_column(archive, name, own)
            }
        if self.images.ndim == 3:
            self.images = self.images[..., None]
        self.labels = self.columns.pop("labels", np.full(len(self.images), -1))
        self.names = self.columns.pop("class_names", None)
        self._check_labels()
        self.notes = self._notes(there)

    def wrong(self, problem: str) -> ValueError:
        return ValueError(f"{self._what} = {self._path}: {problem}")

    def _check_images(self, archive: Archive, key: str) -> None:
        shape, dtype = archive.members[key]
        if dtype != np.uint8:
            raise self.wrong(f"`{key}` is {dtype}: store uint8, 0 to 255")
        last = (*shape, 1)[3] if len(shape) in (3, 4) else 0
        if last not in (1, 3) or 0 in shape:
            raise self.wrong(
                f"`{key}` has the shape {list(shape)}: it must be [N, H, W, 3], [N, H, W, 1] or "
                "[N, H, W]"
            )
        self._count = shape[0]

    def _is_column(self, archive: Archive, name: str, own: str) -> bool:
        """Check an array before it is read."""
        shape, dtype = archive.members[name]
        if own == "class_names":
            if dtype.kind != "U" or len(shape) != 1:
                raise self.wrong("`class_names` must be a list of strings")
            return True
        if dtype.kind not in "iuU":
            kinds = "store integers, -1 for no label, or names"
            other = "a column must hold integers or strings"
            raise self.wrong(f"`{name}` is {dtype}: {kinds if own == 'labels' else other}")
        fits = [(self._count,), (self._count, 1)] if own == "labels" else [(self._count,)]
        if shape not in fits:
            hint = ": one label for each is needed" if own == "labels" and len(shape) == 2 else ""
            raise self.wrong(
                f"`{name}` has the shape {list(shape)}, but there are {self._count} images{hint}"
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

    def _notes(self, there: Sequence[str]) -> tuple[str, ...]:
        if not self.prefix:
            return ()
        told = [f"{self._what}: read from `{self.prefix}images`: {self._count:,} images"]
        if "val_images" in there and self.prefix == "test_":
            told.append(f"{self._what}: `val_images` is not used")
        return tuple(told)

    def dataset(self, class_names: tuple[str, ...]) -> Dataset:
        """Return the images, whose labels are places among ``class_names``."""
        images = torch.from_numpy(self.images).permute(0, 3, 1, 2)
        labels, own = self.labels, class_names
        if labels.dtype.kind == "U":
            labels = self._numbered(labels, class_names)
        elif self.names is not None:
            own = tuple(self.names.tolist())
        fields, field_names = {}, {}
        for name, values in self.columns.items():
            if values.dtype.kind == "U":
                texts, values = np.unique(values, return_inverse=True)
                field_names[name] = tuple(texts.tolist())
            fields[name] = values.astype(np.int64)
        return Dataset(images, torch.from_numpy(labels.astype(np.int64)), own, fields, field_names)

    def _numbered(self, labels: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
        texts, code = np.unique(labels, return_inverse=True)
        place: Mapping[str, int] = {name: number for number, name in enumerate(class_names)}
        missing = [text for text in texts.tolist() if text and text not in place]
        if missing:
            raise self.wrong(f"`labels` has {missing[0]!r}, which is not among `class_names`")
        return np.array([place.get(text, -1) for text in texts.tolist()], np.int64)[code]


def _class_names(*files: _Arrays) -> tuple[str, ...]:
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
