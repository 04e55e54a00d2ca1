"""Folders of CSV files, and lists of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from fedssl.base.fields import File
from fedssl.base.printable import escape_unsafe
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.folders import Folders, refusal
from fedssl.data.layouts import Layout, arrange
from fedssl.data.listing import Listing
from fedssl.data.roots import Root
from fedssl.data.select import balanced
from fedssl.modalities.series.data.config import SeriesData
from fedssl.modalities.series.data.files import (
    SERIES_FILES,
    UnreadableSeriesError,
    read_file,
)
from fedssl.modalities.series.data.fitting import padded


class SeriesCsv(SeriesData):
    """When each series is a CSV file: a folder per class, or per subject and class, or unlabelled.

    A line is a step, a column a channel; a first line without numbers is a head, an empty cell a
    value that is not there. The layout is found out: ``root/class/file``;
    ``root/subject/class/file``, where a natural partition may split by ``domain``, the subjects;
    ``root/file``, unlabelled; ``train/``, ``test/`` and ``val/`` in one root; or a list of files
    (CSV: ``path,label,client,domain``). `fedssl show` says what was read as what.
    """

    name: Literal["series-csv"] = "series-csv"
    """This data set."""
    train: File
    """The folder of the training series, files .csv, .tsv or .txt; or a list of them, whose paths
    are relative to it: a CSV whose head names `path`, `label` and columns to split by."""
    test: File | None = None
    """The same of the test series; null takes test/ or val/ beside train/ where there are such, and
    else holds out a fifth of each class."""
    layout: Layout = "auto"
    """What folders mean. class: the first below the root is the class, at any depth of the files;
    domain/class: the second is, and the first is the domain; auto: by how deep the files lie."""

    def read(self) -> Splits:
        """Find the files, and read those that ``limit`` keeps."""
        train, test = Folders(
            SERIES_FILES, self.train, self.test, self.layout, self.where, self.test_where
        ).listings()
        train = train.take(balanced(train.labels, self.limit.train))
        test = test.take(balanced(test.labels, self.limit.test))
        bad = [*train.bad, *test.bad]
        found = _read_all([*train.paths, *test.paths], bad, "data")
        cut = len(train.paths)
        parts = (
            listing.dataset(padded(series, self.length, f"data.{split}"))
            for listing, series, split in (
                (train, found[:cut], "train"),
                (test, found[cut:], "test"),
            )
        )
        return Splits(*parts, notes=train.notes + test.notes)


def list_files(root: Path, what: str) -> Listing:
    """List the series in a folder, whatever its layout; ``what`` is what errors call it.

    Raises
    ------
    ValueError
        There is no such folder, no series in it, or one that is known to be unreadable.
    """
    found = Root.open(root, what, SERIES_FILES).found
    listing = arrange(found, root, what, SERIES_FILES, lenient=True)
    if listing.bad:
        total = len(listing.paths) + len(listing.bad)
        raise ValueError(refusal(listing.bad, total, SERIES_FILES, what))
    return listing


def read_listing(listing: Listing, length: int | None, what: str) -> Dataset:
    """Read the files of a listing.

    Raises
    ------
    ValueError
        Some cannot be read, or are of other channels than the first.
    """
    return listing.dataset(padded(_read_all(listing.paths, (), what), length, what))


def _read_all(paths: Sequence[str], bad: Sequence[tuple[str, str]], what: str) -> list[np.ndarray]:
    """Read files, all of which must have the channels of the first."""
    arrays: list[np.ndarray] = []
    refused = dict(bad)
    channels: tuple[int, tuple[str, ...]] | None = None
    for path in paths:
        try:
            series, head = read_file(path)
            columns = series.shape[1], head
            channels = channels or columns
            if columns != channels:
                raise UnreadableSeriesError(
                    f"its columns are {_told(columns)}, and those of the first file that was read "
                    f"{_told(channels)}; make them the same"
                )
            arrays.append(series)
        except UnreadableSeriesError as error:
            refused[path] = escape_unsafe(str(error))
    if refused:
        raise ValueError(refusal([*refused.items()], len({*paths, *refused}), SERIES_FILES, what))
    return arrays


def _told(channels: tuple[int, tuple[str, ...]]) -> str:
    number, names = channels
    shown = ", ".join(names[:8])[:200]
    return f"{number}" + (f" ({shown})" if names else " without a head")
