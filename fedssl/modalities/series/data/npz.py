"""Numpy archives of series."""

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedssl.base.fields import File
from fedssl.data.archive import Archive
from fedssl.data.arrays import Arrays, class_names, read_archives
from fedssl.data.dataset import Dataset, Splits
from fedssl.modalities.series.data.config import SeriesData
from fedssl.modalities.series.data.fitting import check_values, padded

KEYS = ("series", "values")


class SeriesNpz(SeriesData):
    """When the series are numpy arrays: an .npz file for training and one for testing.

    Series of one length are ``series``, numbers [N, C, T] or [N, T]; of different lengths
    ``values``, numbers [total, C] or [total] one after the other, and ``offsets``, integers
    [N + 1]: series i is ``values[offsets[i]:offsets[i + 1]]``. NaN is a value that is not there.
    Beside them each may hold ``labels`` (integers [N] or [N, 1], -1 for none; or names, empty for
    none), ``class_names`` (strings) and further columns of integers or strings [N], such as
    ``subject``, which a natural partition may split by. One file may hold both: ``train_series``,
    ``train_labels``, ``test_series``…
    """

    name: Literal["series-npz"] = "series-npz"
    """This data set."""
    train: File
    """The .npz file of the training series."""
    test: File | None = None
    """The .npz file of the test series; null takes ``test_series`` (or ``test_values``) of
    ``train``, where it has them, and else holds out a fifth of each class."""

    def read(self) -> Splits:
        """Read both files."""
        return read_archives(partial(_Series, length=self.length), self.train, self.test)


def read_npz(what: str, path: Path, length: int | None = None) -> Dataset:
    """Read one file; ``what`` is what errors call it, ``length`` what series are cut to.

    Raises
    ------
    ValueError
        It is missing, or not what `SeriesNpz` says.
    """
    arrays = _Series(what, path, "train", length=length)
    return arrays.dataset(class_names(arrays))


class _Series(Arrays):
    """One split of a file."""

    keys = KEYS
    parts = ("offsets",)
    noun = "series"

    def __init__(self, what: str, path: Path, split: str, *, length: int | None):
        self._length = length
        super().__init__(what, path, split)

    def check(self, archive: Archive, key: str) -> int:
        """Return how many series there are: of numbers, with offsets where they lie end to end."""
        shape, dtype = archive.members[key]
        if dtype.kind not in "iuf":
            raise self.wrong(f"`{key}` is {dtype}: store numbers, integers or floats")
        if key.endswith("series"):
            if len(shape) not in (2, 3) or 0 in shape:
                raise self.wrong(
                    f"`{key}` has the shape {list(shape)}: it must be [N, C, T] or [N, T]"
                )
            return shape[0]
        if len(shape) not in (1, 2) or 0 in shape:
            raise self.wrong(
                f"`{key}` has the shape {list(shape)}: it must be [total, C] or [total], the "
                "series one after the other"
            )
        name = f"{self.prefix}offsets"
        bounds, kind = archive.members.get(name, ((), np.dtype(np.void)))
        if kind.kind not in "iu" or len(bounds) != 1 or bounds[0] < 2:
            raise self.wrong(
                f"`{key}` needs `{name}`, integers [N + 1]: series i goes from place offsets[i] to "
                "offsets[i + 1]"
            )
        return bounds[0] - 1

    def read(self, archive: Archive, key: str) -> Tensor:
        """Return the series, float32 [N, C, T]."""
        values = archive.read(key)
        with np.errstate(over="ignore"):  # what float32 does not hold becomes infinite
            values = values.astype(np.float32)
        if key.endswith("series"):
            values = values[:, None] if values.ndim == 2 else values
            series = torch.from_numpy(np.ascontiguousarray(values[..., : self._length]))
        else:
            values = values[:, None] if values.ndim == 1 else values
            offsets = self._offsets(archive, len(values))
            parts = [values[start:stop] for start, stop in pairwise(offsets)]
            series = padded(parts, self._length, f"{self._what} = {self._path}")
        check_values(series, f"{self._what} = {self._path}")
        return series

    def _offsets(self, archive: Archive, total: int) -> list[int]:
        name = f"{self.prefix}offsets"
        offsets: list[int] = archive.read(name).tolist()
        steps = [after - before for before, after in pairwise(offsets)]
        if min(steps) < 1:
            place = next(n for n, step in enumerate(steps) if step < 1)
            raise self.wrong(
                f"`{name}` must ascend, but goes from {offsets[place]} to {offsets[place + 1]} at "
                f"series {place}"
            )
        if offsets[0] != 0 or offsets[-1] != total:
            raise self.wrong(
                f"`{name}` go from {offsets[0]} to {offsets[-1]}: they must go from 0 to {total}, "
                f"the length of `{self.prefix}values`"
            )
        return offsets
