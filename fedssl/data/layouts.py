"""Find out whether folders of example files are classes, domains, or splits of a set."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from fedssl.base.printable import escape_unsafe
from fedssl.data.file_kinds import FileKind
from fedssl.data.listing import Listing
from fedssl.data.walking import Found

Layout = Literal["auto", "class", "domain/class"]

_SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation"),
}
_USES = "use root/class/file, root/domain/class/file or root/file throughout"


def splits_of(found: Found) -> dict[str, str]:
    """Return the names of a root's folders that are the splits of a set: of train, test and val.

    Empty unless train and another one are there, and examples in no other folder.
    """
    tops = sorted({parts[0] if parts else "" for parts, _ in found.folders})
    split_of = {name: split for split, names in _SPLITS.items() for name in names}
    splits = {split_of[top.lower()]: top for top in tops if top.lower() in split_of}
    if len(splits) < len(tops) or len(splits) < 2 or "train" not in splits:
        return {}
    return splits


def arrange(
    found: Found,
    root: Path,
    what: str,
    kind: FileKind,
    layout: Layout = "auto",
    *,
    lenient: bool = False,
) -> Listing:
    """Tell each file's class and domain by the folders that it lies in.

    Parameters
    ----------
    found : Found
        The files.
    root : Path
        The folder that they lie below.
    what : str
        Its name in errors, such as ``data.train``.
    kind : FileKind
        The kind of the files.
    layout : Layout
        class: the first folder below the root is the class; domain/class: the second, and the first
        is the domain; further ones mean nothing. auto: by how deep the files lie.
    lenient : bool
        Take files that fit no layout as unlabelled.

    Raises
    ------
    ValueError
        There is no example, or the files fit no layout.
    """

    def wrong(problem: str) -> ValueError:
        return ValueError(f"{what} = {escape_unsafe(str(root))}: {problem}")

    if not found.folders:
        other_files = found.seen()
        raise wrong(
            f"no {kind.noun[0]} files in it"
            + (f" that can be read; seen: {other_files}" if other_files else "")
        )
    depth = _depth(found, kind, layout, wrong, lenient)
    listing = _listed(found, depth)
    doubt = _doubt(listing, found, root, what, kind, depth) if layout == "auto" else ""
    reading = f"{what}: {_read_as(listing, kind, depth)}{doubt}"
    other_files = ", ".join(f"{n:,} {name}" for name, n in sorted(found.others.items())[:8])
    notes = [
        reading,
        *([f"{what}: left out, since no {kind.noun[1]}: {other_files}"] if other_files else []),
    ]
    return Listing(
        listing.paths,
        listing.labels,
        listing.class_names,
        listing.fields,
        listing.field_names,
        tuple((path, why) for _, path, why in found.bad),
        tuple(notes),
    )


def _depth(
    found: Found,
    kind: FileKind,
    layout: Layout,
    wrong: Callable[[str], ValueError],
    lenient: bool,
) -> int:
    """Return how many folders have a meaning: 0, 1 or 2."""
    shallow = min(found.folders, key=lambda one: len(one[0]))
    deep = max(found.folders, key=lambda one: len(one[0]))
    least, most = len(shallow[0]), len(deep[0])
    if layout == "auto":
        if least == most <= 2:
            return least
        if least == 1:
            return 1
        if lenient:
            return 0
    else:
        wanted = 1 if layout == "class" else 2
        if least >= wanted:
            return wanted
        raise wrong(
            f"{escape_unsafe(shallow[1][0])} lies in too few folders for data.layout = {layout}: "
            f"use root/{layout}/file throughout"
        )
    pair = [shallow[1][0], (deep if deep is not shallow else found.folders[-1])[1][-1]]
    files = " and ".join(map(escape_unsafe, dict.fromkeys(pair)))
    fits = "do not fit one layout" if len(set(pair)) > 1 else "does not fit a layout"
    if least == 0:
        raise wrong(f"{files} {fits}: {_USES}")
    raise wrong(
        f"{files} {fits}, since {kind.noun[1]} lie more than two folders deep: say by data.layout "
        "whether the first folder below the root is the class (class) or the second (domain/class)"
    )


def _listed(found: Found, depth: int) -> Listing:
    folders = found.folders
    paths = [path for _, files in folders for path in files]
    if depth == 0:
        return Listing(paths, np.full(len(paths), -1), (), {})
    sizes = [len(files) for _, files in folders]
    names, labels = np.unique([parts[depth - 1] for parts, _ in folders], return_inverse=True)
    fields, field_names = {}, {}
    if depth == 2:
        domains, codes = np.unique([parts[0] for parts, _ in folders], return_inverse=True)
        fields["domain"] = np.repeat(codes, sizes)
        field_names["domain"] = tuple(domains.tolist())
    return Listing(paths, np.repeat(labels, sizes), tuple(names.tolist()), fields, field_names)


def _read_as(listing: Listing, kind: FileKind, depth: int) -> str:
    examples = kind.count(len(listing.paths))
    if depth == 0:
        return f"files read as unlabelled: {examples}"
    classes = _count(len(listing.class_names), "class")
    if depth == 1:
        return f"folders read as class: {classes}, {examples}"
    domains = _count(len(listing.field_names["domain"]), "domain")
    return f"folders read as domain/class: {domains}, {classes}, {examples}"


def _count(number: int, noun: str) -> str:
    many = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else many}"


def _doubt(
    listing: Listing, found: Found, root: Path, what: str, kind: FileKind, depth: int
) -> str:
    """Return the other reading, where this one may be wrong."""
    names: Sequence[str] = listing.class_names
    if depth == 1 and len(names) == 1:
        return (
            f"; if {names[0]} is no class, give {what} = {escape_unsafe(str(root / names[0]))} for "
            f"unlabelled {kind.noun[1]}"
        )
    if depth == 2:
        homes: dict[str, set[str]] = {}
        for parts, _ in found.folders:
            homes.setdefault(parts[1], set()).add(parts[0])
        if all(len(domains) == 1 for domains in homes.values()):
            first = found.folders[0][0]
            return (
                f"; no two domains share a class, so if {first[0]} is a class and {first[1]} a "
                "part of it, set data.layout: class"
            )
    return ""
