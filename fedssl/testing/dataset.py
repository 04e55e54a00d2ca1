"""Does a data set keep its contract?"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from fedssl.base.config_file import validate
from fedssl.base.fields import Fields
from fedssl.data import DataConfig, Dataset, Splits
from fedssl.modalities import DATA_SETS, Modality, load, modality_of
from fedssl.testing.shared import (
    Plugin,
    check_documented,
    check_section,
    nothing_drawn,
    require,
    same,
)

LOOKED_AT = 16
"""So many examples of each split are fetched."""


class _Config(Fields):
    data: Annotated[DataConfig, DATA_SETS]


def check_dataset(section: Mapping[str, object] | DataConfig, base: Path | None = None) -> None:
    """Check that a data set keeps its contract, as `DataConfig.read` and `Dataset` say.

    All of it is read, twice; so give a small one, or a few of its files.

    Parameters
    ----------
    section : Mapping[str, object] | DataConfig
        The ``data`` section, as a config has it: its ``name`` is one that is registered, or a
        dotted path.
    base : Path | None (default: None)
        The folder that relative paths in it are relative to; None for the current one.

    Raises
    ------
    AssertionError
        It does not; the message says what, and where it can be seen.
    ValueError
        There is no such data set, or it cannot be read.

    Examples
    --------
        from fedssl.testing import check_dataset
        check_dataset({"name": "glyphs"})
    """
    if isinstance(section, DataConfig):
        config = section
    else:
        values = {"data": dict(section)}
        config = validate(_Config, values, base=base or Path(), source="check_dataset").data
    where, modality = f"data set {config.name}", modality_of(config)
    if config.name in modality.data_sets:
        # Files, say, cannot have a default.
        check_documented(Plugin(config.name, modality.data_sets[config.name]), optional=False)
    check_section(config, where)
    with nothing_drawn(f"{where}: reading it"):
        read = config.read()
    require(isinstance(read, Splits), f"{where}: read gives a {type(read).__name__}, no Splits")
    again = config.read()
    for split, part, other in (
        ("train", read.train, again.train),
        ("test", read.test, again.test),
    ):
        _check_part(f"{where}: {split}", part, modality)
        _check_fetching(f"{where}: {split}", part, other)
    names, tested = read.train.class_names, read.test.class_names
    require(not names or not tested or names == tested, f"{where}: its splits' classes differ")
    _check_notes(where, read)
    _check_loading(where, config, modality)


def _check_part(where: str, part: Dataset, modality: Modality) -> None:
    count = len(part)
    require(count > 0, f"{where}: has no {modality.noun[1]}")
    labels = part.labels
    require(
        isinstance(labels, Tensor) and labels.dtype == torch.int64 and labels.shape == (count,),
        f"{where}: labels must be int64 [{count}], and are {labels.dtype} {list(labels.shape)}",
    )
    require(
        int(labels.min()) >= -1 and int(labels.max()) < len(part.class_names),
        f"{where}: labels go from {labels.min()} to {labels.max()}, and there are "
        f"{len(part.class_names)} class names: use 0 to one below that, and -1 for no label",
    )
    names = part.class_names
    require(
        isinstance(names, tuple) and all(isinstance(n, str) for n in names),
        f"{where}: class_names must be a tuple of texts, and are {names!r}",
    )
    require(len(set(names)) == len(names), f"{where}: two classes have one name: {names}")
    for column, values in part.fields.items():
        require(
            isinstance(values, np.ndarray)
            and values.dtype == np.int64
            and values.shape == (count,),
            f"{where}: the field {column} must be int64 [{count}] of numpy",
        )
        called = part.field_names.get(column, ())
        require(
            not called or (int(values.min()) >= 0 and int(values.max()) < len(called)),
            f"{where}: the field {column} goes from {values.min()} to {values.max()}, and "
            f"field_names names {len(called)}",
        )
    odd = sorted(part.field_names.keys() - part.fields.keys())
    require(not odd, f"{where}: field_names names {', '.join(odd)}, which is no field")


def _rows(count: int) -> np.ndarray:
    """Return some places in no order, one of them twice."""
    some = np.random.default_rng(0).permutation(count)[:LOOKED_AT]
    return np.append(some, some[:1])


def _check_fetching(where: str, part: Dataset, other: Dataset) -> None:
    rows = _rows(len(part))
    fetched = part.fetch(rows)
    require(
        isinstance(fetched, Tensor) and fetched.shape == (len(rows), *part.shape),
        f"{where}: fetching {len(rows)} examples gives {list(fetched.shape)}, and each is "
        f"{list(part.shape)}: the same row may be asked for twice",
    )
    require(same(fetched[0], fetched[-1]), f"{where}: the same row gives other examples")
    one_by_one = torch.cat([part.fetch(rows[place : place + 1]) for place in range(len(rows))])
    require(
        same(fetched, one_by_one), f"{where}: examples fetched one by one are others than at once"
    )
    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(part.fetch, np.array_split(rows, 4)))
    require(
        same(fetched, torch.cat(halves)), f"{where}: fetching from threads gives other examples"
    )
    require(
        len(part) == len(other) and same(fetched, other.fetch(rows)),
        f"{where}: reading twice gives different examples",
    )
    require(
        torch.equal(part.labels, other.labels) and part.class_names == other.class_names,
        f"{where}: reading twice gives different labels",
    )
    require(
        part.fields.keys() == other.fields.keys()
        and all(np.array_equal(v, other.fields[n]) for n, v in part.fields.items()),
        f"{where}: reading twice gives different fields",
    )


def _check_notes(where: str, read: Splits) -> None:
    lines = [*read.notes, *(text for pair in read.skipped for text in pair)]
    require(
        all(isinstance(line, str) and "\n" not in line for line in lines),
        f"{where}: notes and skipped must be texts of a line each",
    )


def _check_loading(where: str, config: DataConfig, modality: Modality) -> None:
    """Check what becomes of it, made fit by its modality."""
    splits = load(config)
    for split, part in (("train", splits.train), ("test", splits.test)):
        fetched = part.fetch(_rows(len(part)))
        require(
            fetched.dtype == modality.dtype and fetched.is_contiguous(),
            f"{where}: {split}: loaded examples must be contiguous {modality.dtype}, and are "
            f"{fetched.dtype}",
        )
    require(
        splits.train.shape == splits.test.shape,
        f"{where}: loaded training and test examples have other shapes",
    )
