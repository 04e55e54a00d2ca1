"""The text format ``.ts`` of the UCR and UEA archives."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from fedssl.base.fields import File
from fedssl.base.printable import escape_unsafe
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.listed import in_order
from fedssl.data.select import balanced, hold_out
from fedssl.modalities.series.data.config import SeriesData
from fedssl.modalities.series.data.files import is_number
from fedssl.modalities.series.data.fitting import padded

LARGEST = 1 << 32
"""The most bytes that are read of a file."""
_MISSING = ("?", "nan", "")


class SeriesTs(SeriesData):
    """When the series come from the UCR or UEA archive: files in the text format ``.ts``.

    A head of lines that begin with ``@``, then a line for each series: its channels, divided by
    colons, each of numbers divided by commas (``?`` where one is missing), and its class. Series
    may have different lengths; those with timestamps are not read.

    Source: Löning et al., "sktime: A Unified Interface for Machine Learning with Time Series",
    2019, and the documentation of aeon, "The .ts file format".
    """

    name: Literal["series-ts"] = "series-ts"
    """This data set."""
    train: File
    """The .ts file of the training series."""
    test: File | None = None
    """The same of the test series; null takes NAME_TEST.ts beside a NAME_TRAIN.ts, where there is
    one, and else holds out a fifth of each class."""

    def read(self) -> Splits:
        """Read both files."""
        train = read_ts("data.train", self.train)
        test = self.test or _beside(self.train)
        if test is None:
            return self._held_out(train)
        second = read_ts("data.test", test)
        names = train.class_names or second.class_names
        notes = () if self.test else (f"data.test: null, so {escape_unsafe(test.name)} is read",)
        # A file may name classes that it has no series of, in another order than the other does.
        if {*names} != {*second.class_names} and second.class_names:
            names = in_order({*names, *second.class_names})
        return Splits(
            train.dataset(names, self.length, self.limit.train),
            second.dataset(names, self.length, self.limit.test),
            notes=notes,
        )

    def _held_out(self, whole: "TsFile") -> Splits:
        codes = whole.labels(whole.class_names)
        kept, held = hold_out(codes)
        if not len(kept) or not len(held):
            raise whole.wrong("too few series to hold out a fifth for testing; give data.test")
        told = f"data.test: null, so a fifth of data.train is held out: {len(held):,} series"
        train, test = (
            part.dataset(whole.class_names, self.length, limit)
            for part, limit in (
                (whole.take(kept), self.limit.train),
                (whole.take(held), self.limit.test),
            )
        )
        return Splits(train, test, notes=(told,))


@dataclass(frozen=True)
class TsFile:
    """What a file holds."""

    what: str
    """What errors call it."""
    path: Path
    series: list[np.ndarray] = field(default_factory=list)
    """float32 [t, C] each, t of its own."""
    classes: list[str] = field(default_factory=list)
    """The class of each; empty where none is known."""
    class_names: tuple[str, ...] = ()
    """As the head names them."""

    def wrong(self, problem: str, line: int | None = None) -> ValueError:
        """Return an error of what is wrong with the file, or a line of it."""
        place = "" if line is None else f"line {line} "
        return ValueError(f"{self.what} = {escape_unsafe(str(self.path))}: {place}{problem}")

    def take(self, index: np.ndarray) -> "TsFile":
        """Return the series at ``index``."""
        return replace(
            self,
            series=[self.series[place] for place in index],
            classes=[self.classes[place] for place in index],
        )

    def labels(self, names: tuple[str, ...]) -> np.ndarray:
        """Return the labels as places among ``names``, int64 [N]; -1 for none."""
        place = {name: number for number, name in enumerate(names)}
        return np.array([place.get(name, -1) for name in self.classes], np.int64)

    def dataset(
        self, names: tuple[str, ...], length: int | None, limit: int | None = None
    ) -> Dataset:
        """Return the series, filled up to one length, at most ``limit``."""
        chosen = self.take(balanced(self.labels(names), limit))
        series = padded(chosen.series, length, f"{self.what} = {escape_unsafe(str(self.path))}")
        return Dataset(series, torch.from_numpy(chosen.labels(names)), names)


def read_ts(what: str, path: Path) -> TsFile:
    """Read a file; ``what`` is what errors call it.

    Raises
    ------
    ValueError
        It is missing, or not what `SeriesTs` says; the message names the line.
    """
    empty = TsFile(what, path)
    lines = _lines(empty)
    head = _Head(empty)
    series: list[np.ndarray] = []
    classes: list[str] = []
    for number, line in lines:
        if not head.ended:
            head.take(line, number)
            continue
        parts = line.split(":")
        if head.class_names is not None:
            classes.append(head.class_of(parts.pop().strip(), number))
        else:
            classes.append("")
        series.append(_series(parts, head, number))
        if series[-1].shape[1] != series[0].shape[1]:
            raise empty.wrong(
                f"has {series[-1].shape[1]} channel(s), and the first series has "
                f"{series[0].shape[1]}; make them the same",
                number,
            )
    if not head.ended:
        raise empty.wrong("has no line @data, after which the series begin")
    if not series:
        raise empty.wrong("has no series after @data")
    return TsFile(what, path, series, classes, head.class_names or ())


class _Head:
    """The lines of a file that begin with @."""

    def __init__(self, file: TsFile):
        self.file = file
        self.ended = False
        self.class_names: tuple[str, ...] | None = None
        self.channels: int | None = None
        self.length: int | None = None
        self.whole = False

    def take(self, line: str, number: int) -> None:
        """Read one of its lines."""
        if not line.startswith("@"):
            raise self.file.wrong("comes before @data, and does not begin with @ or #", number)
        words = line[1:].split()
        key, values = (words[0].lower() if words else ""), words[1:]
        first = values[0].lower() if values else ""
        if key == "data":
            self.ended = True
        elif key == "timestamps" and first == "true":
            raise self.file.wrong(
                "says @timeStamps true, and series with timestamps are not read; write the values "
                "at equal intervals, with ? where there is none",
                number,
            )
        elif key == "classlabel" and first == "true":
            if len(values) < 2:
                raise self.file.wrong("must name the classes: @classLabel true A B", number)
            self.class_names = tuple(dict.fromkeys(values[1:]))
        elif key == "targetlabel" and first == "true":
            raise self.file.wrong(
                "says @targetLabel true: its targets are numbers to be predicted, and fedssl has "
                "classes only; write @classLabel true and the classes, or @classLabel false",
                number,
            )
        elif key == "univariate" and first == "true":
            self.channels = 1
        elif key in ("dimensions", "dimension"):
            self.channels = self._number(first, key, number)
        elif key == "serieslength":
            self.length = self._number(first, key, number)
        elif key == "equallength":
            self.whole = first == "true"

    def _number(self, word: str, key: str, number: int) -> int:
        if not word.isascii() or not word.isdigit() or not 0 < int(word[:12]) < 10**9:
            raise self.file.wrong(f"must give @{key} as a whole number above 0", number)
        return int(word)

    def class_of(self, name: str, number: int) -> str:
        """Return a series' class; empty where it is not known."""
        if name in _MISSING:
            return ""
        if name not in (self.class_names or ()):
            raise self.file.wrong(
                f"ends in the class {escape_unsafe(name[:40])!r}, which @classLabel does not name",
                number,
            )
        return name


def _series(parts: list[str], head: _Head, number: int) -> np.ndarray:
    """Return the series of a line, float32 [t, C]; channels of different lengths end in NaN."""
    file = head.file
    if head.channels is not None and len(parts) != head.channels:
        raise file.wrong(
            f"has {len(parts)} channel(s), and the head says {head.channels}; divide channels by "
            "colons, and end the line in the class where there is one",
            number,
        )
    channels = [_values(part, file, number) for part in parts]
    longest = max(map(len, channels))
    if head.whole and head.length is not None and longest != head.length:
        raise file.wrong(f"has {longest} steps, and @seriesLength is {head.length}", number)
    series = np.full((longest, len(channels)), np.nan, np.float32)
    for place, values in enumerate(channels):
        series[: len(values), place] = values
    if np.isinf(series).any():
        raise file.wrong("holds an infinite value; write ? or correct it", number)
    if np.isnan(series).all():
        raise file.wrong("has no value at all; leave the series out", number)
    return series


def _values(part: str, file: TsFile, number: int) -> np.ndarray:
    cells = [cell.strip() for cell in part.split(",")]
    if any("(" in cell for cell in cells):
        raise file.wrong("holds timestamps, which are not read; write the values alone", number)
    known = [np.nan if cell.lower() in _MISSING else cell for cell in cells]
    if wrong := next((c for c in known if isinstance(c, str) and not is_number(c)), None):
        raise file.wrong(
            f"holds {escape_unsafe(wrong[:20])!r}, which is no number; write ? where there is none",
            number,
        )
    with np.errstate(over="ignore"):
        return np.array([float(cell) for cell in known]).astype(np.float32)


def _lines(file: TsFile) -> list[tuple[int, str]]:
    """Return the lines that are not blank and no comments, with their numbers from 1."""
    try:
        if not file.path.is_file():
            raise file.wrong("there is no such file; correct the path")
        if os.path.getsize(file.path) > LARGEST:
            raise file.wrong(f"is larger than {LARGEST >> 30} GB")
        text = file.path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise file.wrong(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise file.wrong("is no text in UTF-8") from None
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _beside(train: Path) -> Path | None:
    """Return the test file that the archive puts beside a training file."""
    if not train.stem.upper().endswith("_TRAIN"):
        return None
    stem, train_word = train.stem[:-5], train.stem[-5:]
    other = train.with_name(f"{stem}{'TEST' if train_word.isupper() else 'test'}{train.suffix}")
    return other if other.is_file() else None
