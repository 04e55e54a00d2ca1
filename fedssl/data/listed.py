"""Lists of example files: a CSV, or lines of paths and labels."""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fedssl.base.printable import escape_unsafe
from fedssl.data.file_kinds import FileKind, suffix
from fedssl.data.listing import Listing

COLUMNS = ("path", "label", "client", "domain")
"""What a list without a head has, in this order; all but the first may be missing."""
_LARGEST = 2**30


def read_list(path: Path, what: str, kind: FileKind) -> Listing:
    """Read a list of files: a head that names the columns, and a line for each example.

    ``path`` is relative to the list's folder; ``label`` is a name or a number, empty or -1 for
    none; every further column can be split by. Without a head the columns are path, label, client
    and domain. A line without commas or tabs is a path and its label, as ImageNet's lists are.

    ``what`` is what errors call the list, ``kind`` what its files are.

    Raises
    ------
    ValueError
        It cannot be read.
    """

    def wrong(problem: str) -> ValueError:
        return ValueError(f"{what} = {escape_unsafe(str(path))}: {problem}")

    try:
        if path.stat().st_size > _LARGEST:
            raise wrong("is larger than 1 GB: lists are not")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text in UTF-8"
        hint = "; for arrays use data.name: npz" if path.suffix == ".npz" else ""
        raise wrong(
            f"cannot be read as a list of {kind.noun[1]} ({reason}): write lines of "
            f"path,label{hint}"
        ) from None
    try:
        rows = [(n, row) for n, row in enumerate(_rows(path, lines, kind), start=1) if any(row)]
    except csv.Error as error:
        raise wrong(f"cannot be read as a list of {kind.noun[1]} ({error})") from None
    if not rows:
        raise wrong(f"lists no {kind.noun[0]}")
    head = [name.lower() for name in rows[0][1]]
    if "path" in head:
        rows = rows[1:]
        if "" in head or len(set(head)) < len(head):
            raise wrong(f"its head must name each column once: {', '.join(head)}")
    else:
        head = list(COLUMNS[: len(head)])
    if not rows:
        raise wrong(f"lists no {kind.noun[0]}")
    for number, row in rows:
        if len(row) != len(head):
            raise wrong(f"line {number} has {len(row)} cells, but there are {len(head)} columns")
        if not row[head.index("path")]:
            raise wrong(f"line {number} has no path")
    columns = {name: [row[place] for _, row in rows] for place, name in enumerate(head)}
    paths = [os.path.join(path.parent, name) for name in columns.pop("path")]
    label_texts = columns.pop("label", [""] * len(paths))
    texts = ["" if label == "-1" else label for label in label_texts]
    names = in_order({text for text in texts if text})
    place = {name: number for number, name in enumerate(names)}
    labels = np.array([place.get(text, -1) for text in texts], np.int64)
    coded = {name: np.unique(values, return_inverse=True) for name, values in columns.items()}
    further = f", further columns: {', '.join(coded)}" if coded else ""
    note = f"{what}: read as a list: {kind.count(len(paths))}, {len(names):,} classes{further}"
    return Listing(
        paths,
        labels,
        names,
        {name: codes.astype(np.int64) for name, (_, codes) in coded.items()},
        {name: tuple(values.tolist()) for name, (values, _) in coded.items()},
        notes=(note,),
    )


def in_order(names: set[str]) -> tuple[str, ...]:
    """Sort classes by number where all are numbers, else by name."""
    if all(re.fullmatch(r"[0-9]{1,18}", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def with_classes(listing: Listing, names: Sequence[str]) -> Listing:
    """Return a listing whose labels are places among ``names``, which has all of its own."""
    place = {name: number for number, name in enumerate(names)}
    new = np.array([*(place[name] for name in listing.class_names), -1], np.int64)
    return replace(listing, labels=new[listing.labels], class_names=tuple(names))


def _rows(path: Path, lines: Sequence[str], kind: FileKind) -> Iterator[list[str]]:
    first = next((line for line in lines if line.strip()), "")
    if path.suffix.lower() == ".csv" or "," in first:
        separator = ","
    elif path.suffix.lower() == ".tsv" or "\t" in first:
        separator = "\t"
    else:
        yield from (_words(line, kind) for line in lines)
        return
    for row in csv.reader(lines, delimiter=separator, strict=True):
        yield [cell.strip() for cell in row]


def _words(line: str, kind: FileKind) -> list[str]:
    """Return the path, which may have spaces, and the label of a line, which may have none."""
    line = line.strip()
    head, _, label = line.rpartition(" ")
    return [line, ""] if suffix(line) in kind.suffixes or not head else [head.strip(), label]
