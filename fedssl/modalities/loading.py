"""From a config to examples that are ready for use."""

from dataclasses import replace

import torch
from torch import Tensor

from fedssl.base.printable import escape_unsafe
from fedssl.data.config import DataConfig
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.select import balanced
from fedssl.data.where import chosen
from fedssl.modalities.base import Modality
from fedssl.modalities.registry import modality_of


def load(config: DataConfig) -> Splits:
    """Load a data set.

    Parameters
    ----------
    config : DataConfig
        The ``data`` section.

    Returns
    -------
    Splits
        Examples of one shape, contiguous; those that are on demand have all this done once they are
        fetched.

    Raises
    ------
    ValueError
        Something is missing or malformed; the message starts with the field at fault.
    """
    modality = modality_of(config)
    where = f"data.name = {config.name}"
    splits = config.read()
    if not isinstance(splits, Splits):
        raise ValueError(f"{where}: gave a {type(splits).__name__}: it must be fedssl.data.Splits")
    read = _on_lines(splits)
    for split, part in (("train", read.train), ("test", read.test)):
        _check(part, modality, f"{where}: {split}")
    names, tested = read.train.class_names, read.test.class_names
    if names and tested and names != tested:
        raise ValueError(
            f"data.test: its classes ({', '.join(tested)}) are not those of data.train "
            f"({', '.join(names)}); make them the same"
        )
    rows = [
        rows[balanced(part.labels.numpy()[rows], limit)]
        for part, rows, limit in (
            (read.train, chosen(read.train, config.where, "data.where"), config.limit.train),
            (read.test, chosen(read.test, config.test_where, "data.test_where"), config.limit.test),
        )
    ]
    train, test = modality.fit(config, read, (rows[0], rows[1]), where)
    for split, part in (("train", train), ("test", test)):
        if len(part.shape) != modality.dimensions:
            raise ValueError(
                f"{where}: {split} {modality.noun[1]} have the shape {list(part.shape)}: they must "
                f"have {modality.dimensions} dimension(s)"
            )
        if isinstance(part.examples, Tensor) and part.examples.dtype != modality.dtype:
            raise ValueError(
                f"{where}: {split} {modality.noun[1]} are {part.examples.dtype}: they must be "
                f"{modality.dtype}"
            )
    return replace(read, train=train, test=test)


def _on_lines(splits: Splits) -> Splits:
    """Return the same with names that have no line breaks or other control characters in them."""
    train, test = (
        replace(
            part,
            class_names=tuple(map(escape_unsafe, part.class_names)),
            field_names={
                name: tuple(map(escape_unsafe, values)) for name, values in part.field_names.items()
            },
        )
        for part in (splits.train, splits.test)
    )
    return replace(splits, train=train, test=test, notes=tuple(map(escape_unsafe, splits.notes)))


def _check(dataset: Dataset, modality: Modality, where: str) -> None:
    """Refuse what no later code could work with."""
    modality.check(dataset, where)
    labels = dataset.labels
    if not len(dataset):
        raise ValueError(f"{where} has no {modality.noun[1]}")
    if labels.dtype != torch.int64 or labels.shape != (len(dataset),):
        raise ValueError(
            f"{where} labels are {labels.dtype} {list(labels.shape)}: they must be int64 "
            f"[{len(dataset)}]"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < -1 or high >= len(dataset.class_names):
        raise ValueError(
            f"{where} labels go from {low} to {high}, but there are {len(dataset.class_names)} "
            "class names: use 0 to one below that, and -1 for no label"
        )
    for name, values in dataset.fields.items():
        if values.shape != (len(dataset),) or values.dtype.kind != "i":
            raise ValueError(
                f"{where} field {name} is {values.dtype} {list(values.shape)}: it must be int64 "
                f"[{len(dataset)}]"
            )
