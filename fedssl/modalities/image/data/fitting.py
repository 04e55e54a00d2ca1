"""Make images what the rest works with: of one size, with three channels."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fedssl.data.dataset import Dataset, Splits
from fedssl.data.memory_limit import check_fits
from fedssl.modalities.image.data.on_demand import Fitted, fit


def check(dataset: Dataset, where: str) -> None:
    """Raise a ValueError where stored images are not uint8 [N, 1 or 3, H, W]."""
    shape = dataset.examples.shape
    dtype = dataset.examples.dtype if isinstance(dataset.examples, Tensor) else torch.uint8
    if dtype != torch.uint8 or len(shape) != 4 or shape[1] not in (1, 3):
        raise ValueError(
            f"{where} images are {dtype} {list(shape)}: they must be uint8 [N, 3, H, W] or "
            "[N, 1, H, W]"
        )


def fit_splits(
    splits: Splits, rows: tuple[np.ndarray, np.ndarray], size: int | None, where: str
) -> tuple[Dataset, Dataset]:
    """Resize the images at ``rows``, int64 [M] each, and make 3 channels of one.

    Raises
    ------
    ValueError
        The splits' images are of different sizes, or memory cannot hold them.
    """
    train = _fit_part(splits.train, rows[0], size, f"{where}: train")
    test = _fit_part(splits.test, rows[1], size, f"{where}: test")
    if train.shape != test.shape:
        raise ValueError(
            f"data.size is needed, since the training images are {_sides(train)} and the test "
            f"images {_sides(test)}"
        )
    return train, test


def _fit_part(dataset: Dataset, rows: np.ndarray, size: int | None, where: str) -> Dataset:
    whole = len(rows) == len(dataset)
    _, channels, height, width = dataset.examples.shape
    if isinstance(dataset.examples, Tensor):
        if size is not None and size * size > height * width:
            check_fits((len(rows), channels, size, size), f"{where} images")
        dataset = dataset if whole else dataset.take(rows)
        return replace(dataset, examples=fit(dataset.fetch(), size))
    index = None if whole else torch.from_numpy(rows)
    fitted = Fitted(dataset.examples, index, size, where)
    fitted[torch.zeros(1, dtype=torch.int64)]  # so that mistakes show before any work
    if index is None:
        return replace(dataset, examples=fitted)
    fields = {name: values[rows] for name, values in dataset.fields.items()}
    return replace(dataset, examples=fitted, labels=dataset.labels[index], fields=fields)


def _sides(dataset: Dataset) -> str:
    return f"{dataset.shape[2]}×{dataset.shape[1]}"
