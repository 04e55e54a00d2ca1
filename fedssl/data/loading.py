"""From a config to images that are ready for use."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fedssl.data.config import DataConfig
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.memory_limit import check_fits
from fedssl.data.on_demand import Fitted, fit
from fedssl.data.select import balanced
from fedssl.data.where import chosen
from fedssl.printable import spelled_out


def load(config: DataConfig) -> Splits:
    """Load a data set.

    Returns
    -------
    Splits
        Images uint8 [N, 3, H, W], contiguous, grey ones replicated over the channels; those that
        are on demand have all this done once they are fetched.

    Raises
    ------
    ValueError
        Something is missing or malformed; the message starts with the field at fault.
    """
    read = _on_lines(config.read())
    where = f"data.name = {config.name}"
    for split, part in (("train", read.train), ("test", read.test)):
        _check(part, f"{where}: {split}")
    names, tested = read.train.class_names, read.test.class_names
    if names and tested and names != tested:
        raise ValueError(
            f"data.test: its classes ({', '.join(tested)}) are not those of data.train "
            f"({', '.join(names)}); make them the same"
        )
    train = _finish(
        read.train,
        chosen(read.train, config.where, "data.where"),
        config.limit.train,
        config.size,
        f"{where}: train",
    )
    test = _finish(
        read.test,
        chosen(read.test, config.test_where, "data.test_where"),
        config.limit.test,
        config.size,
        f"{where}: test",
    )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"data.size is needed, since the training images are {_sides(train)} and the test "
            f"images {_sides(test)}"
        )
    return replace(read, train=train, test=test)


def _on_lines(splits: Splits) -> Splits:
    """Return the same with names that have no line breaks or other control characters in them."""
    train, test = (
        replace(
            part,
            class_names=tuple(map(spelled_out, part.class_names)),
            field_names={
                name: tuple(map(spelled_out, values)) for name, values in part.field_names.items()
            },
        )
        for part in (splits.train, splits.test)
    )
    return replace(splits, train=train, test=test, notes=tuple(map(spelled_out, splits.notes)))


def _finish(
    dataset: Dataset, rows: np.ndarray, limit: int | None, size: int | None, where: str
) -> Dataset:
    """Apply ``limit`` and ``size`` to those of a set's images that are at ``rows``, int64 [M]."""
    rows = rows[balanced(dataset.labels.numpy()[rows], limit)]
    whole = len(rows) == len(dataset)
    _, channels, height, width = dataset.images.shape
    if isinstance(dataset.images, Tensor):
        if size is not None and size * size > height * width:
            check_fits((len(rows), channels, size, size), f"{where} images")
        dataset = dataset if whole else dataset.take(rows)
        return replace(dataset, images=fit(dataset.fetch(), size))
    index = None if whole else torch.from_numpy(rows)
    fitted = Fitted(dataset.images, index, size, where)
    fitted[torch.zeros(1, dtype=torch.int64)]  # so that mistakes show before any work
    if index is None:
        return replace(dataset, images=fitted)
    fields = {name: values[rows] for name, values in dataset.fields.items()}
    return replace(dataset, images=fitted, labels=dataset.labels[index], fields=fields)


def _sides(dataset: Dataset) -> str:
    return f"{dataset.images.shape[3]}×{dataset.images.shape[2]}"


def _check(dataset: Dataset, where: str) -> None:
    """Refuse what no later code could work with."""
    shape, labels = dataset.images.shape, dataset.labels
    dtype = dataset.images.dtype if isinstance(dataset.images, Tensor) else torch.uint8
    if dtype != torch.uint8 or len(shape) != 4 or shape[1] not in (1, 3):
        raise ValueError(
            f"{where} images are {dtype} {list(shape)}: they must be uint8 [N, 3, H, W] or "
            "[N, 1, H, W]"
        )
    if not len(dataset):
        raise ValueError(f"{where} has no images")
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
