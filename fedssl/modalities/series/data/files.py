"""Read text files of one series each: a line for each step, a column for each channel."""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fedssl.data.file_kinds import FileKind, suffix

SERIES_FILES = FileKind(
    ("series", "series"),
    frozenset([".csv", ".tsv", ".txt"]),
    {
        **dict.fromkeys((".xls", ".xlsx", ".ods"), "it is a spreadsheet; save it as CSV"),
        **dict.fromkeys((".parquet", ".feather", ".h5", ".hdf5"), "it is no text; save it as CSV"),
        **dict.fromkeys((".mat", ".edf", ".wav"), "it is no text; save it as CSV"),
        **dict.fromkeys((".gz", ".zip", ".xz", ".bz2"), "it is packed; unpack it"),
    },
)
"""The files that hold a series each."""

LARGEST = 1 << 28
"""The most bytes that are read of a text file of one series."""
_NUMBER = re.compile(
    r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]{1,4})?|[-+]?(nan|inf|infinity)", re.I
)


class UnreadableSeriesError(ValueError):
    """A file cannot be read as a series: why."""


def read_file(path: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a file's series, float32 [t, C], and the names of its channels, if it has a head.

    A first line of which no cell is a number is the head. An empty cell is NaN.

    Raises
    ------
    UnreadableSeriesError
        It is too large, not text, or a line is not what it should be: says which.
    """
    lines = _lines(path)
    rows = _rows(lines, path)
    head: tuple[str, ...] = ()
    values: list[list[float]] = []
    width = 0
    for number, cells in rows:
        if not width:
            width = len(cells)
            if not any(is_number(cell) for cell in cells) and any(cells):
                head = tuple(cells)
                continue
        if len(cells) != width:
            raise UnreadableSeriesError(
                f"line {number} has {len(cells)} cell(s), and the first has {width}; give every "
                "line as many"
            )
        values.append([_value(cell, number) for cell in cells])
    if not values:
        raise UnreadableSeriesError("there is no line of numbers in it")
    with np.errstate(over="ignore"):
        series = np.array(values, np.float64).astype(np.float32)
    infinite = np.isinf(series).any(1)
    if infinite.any():
        raise UnreadableSeriesError(
            f"step {int(infinite.argmax()) + 1} holds an infinite value; leave the cell empty or "
            "correct it"
        )
    if np.isnan(series).all():
        raise UnreadableSeriesError("it has no value at all, only empty cells")
    return series, head


def _lines(path: str) -> list[str]:
    try:
        # A pipe or a device would be waited for.
        if not os.path.isfile(path):
            raise UnreadableSeriesError("it is no plain file")
        if os.path.getsize(path) > LARGEST:
            raise UnreadableSeriesError(
                f"it is larger than {LARGEST >> 20} MB; cut it into several recordings"
            )
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UnreadableSeriesError(f"it cannot be opened ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UnreadableSeriesError("it is no text in UTF-8") from None


def _rows(lines: Sequence[str], path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line that is not blank, and its cells."""
    first = next((line for line in lines if line.strip()), "")
    separator = next((mark for mark in (",", "\t", ";") if mark in first), None)
    if separator is not None:
        reader = csv.reader(lines, delimiter=separator, strict=True)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, [cell.strip() for cell in cells]
        except csv.Error as error:
            raise UnreadableSeriesError(
                f"line {reader.line_num} is no line of cells ({error})"
            ) from None
        return
    # Of one channel every line is a cell, which may be empty.
    single = suffix(path) != ".txt"
    last = max((number for number, line in enumerate(lines, 1) if line.strip()), default=0)
    for number, line in enumerate(lines[:last], start=1):
        if single:
            yield number, [line.strip()]
        elif line.strip():
            yield number, line.split()


def is_number(cell: str) -> bool:
    """Tell whether a text is a number as people write it: no underscores, no foreign digits."""
    return _NUMBER.fullmatch(cell) is not None


def _value(cell: str, number: int) -> float:
    if not cell:
        return np.nan
    if not is_number(cell):
        shown = cell if len(cell) <= 20 else f"{cell[:20]}…"
        raise UnreadableSeriesError(
            f"line {number} holds {shown!r}, which is no number; leave the cell empty where there "
            "is none"
        )
    return float(cell)
