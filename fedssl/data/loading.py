"""From a config to images that are ready for use."""

from dataclasses import replace

import torch
from torch import Tensor

from fedssl.data.config import DataConfig
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.on_demand import Fitted, fit
from fedssl.data.select import balanced


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
    read = config.read()
    where = f"data.name = {config.name}"
    for split, part in (("train", read.train), ("test", read.test)):
        _check(part, f"{where}: {split}")
    names, tested = read.train.class_names, read.test.class_names
    if names and tested and names != tested:
        raise ValueError(
            f"data.test: its classes ({', '.join(tested)}) are not those of data.train "
            f"({', '.join(names)}); make them the same"
        )
    train = _finish(read.train, config.limit.train, config.size, f"{where}: train")
    test = _finish(read.test, config.limit.test, config.size, f"{where}: test")
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"data.size is needed, since the training images are {_sides(train)} and the test "
            f"images {_sides(test)}"
        )
    return Splits(train, test)


def _finish(dataset: Dataset, limit: int | None, size: int | None, where: str) -> Dataset:
    whole = limit is None or limit >= len(dataset)
    kept = None if whole else balanced(dataset.labels.numpy(), limit)
    if isinstance(dataset.images, Tensor):
        dataset = dataset if kept is None else dataset.take(kept)
        return replace(dataset, images=fit(dataset.fetch(), size))
    rows = None if kept is None else torch.from_numpy(kept)
    fitted = Fitted(dataset.images, rows, size, where)
    fitted[torch.zeros(1, dtype=torch.int64)]  # so that mistakes show before any work
    if rows is None:
        return replace(dataset, images=fitted)
    fields = {name: values[kept] for name, values in dataset.fields.items()}
    return Dataset(fitted, dataset.labels[rows], dataset.class_names, fields)


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
