"""Make series what the rest works with: of one length, finite or NaN."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedssl.data.dataset import Dataset, Splits
from fedssl.data.example_spec import LARGEST
from fedssl.data.memory_limit import memory
from fedssl.data.on_demand import Examples
from fedssl.modalities.series.data.config import SeriesData


def check(dataset: Dataset, where: str) -> None:
    """Raise a ValueError where stored series are not float32 [N, C, T], finite or NaN."""
    series = dataset.examples
    shape = list(series.shape)
    dtype = series.dtype if isinstance(series, Tensor) else torch.float32
    if dtype != torch.float32 or len(shape) != 3 or 0 in shape[1:]:
        raise ValueError(f"{where} series are {dtype} {shape}: they must be float32 [N, C, T]")
    if isinstance(series, Tensor):
        check_values(series, where)


def check_values(series: Tensor, where: str) -> None:
    """Raise a ValueError where one of the series [N, C, T] is infinite somewhere, or all NaN."""
    if bool(series.isfinite().all()):
        return
    for problem, rows in (
        ("holds an infinite value; leave it empty (NaN) or correct it", series.isinf()),
        ("has no value at all, only NaN; leave the series out", series.isnan()),
    ):
        found = rows.flatten(1).any(1) if "infinite" in problem else rows.flatten(1).all(1)
        if bool(found.any()):
            raise ValueError(f"{where}: series {int(found.nonzero()[0])} {problem}")


def fit_splits(
    config: SeriesData, splits: Splits, rows: tuple[np.ndarray, np.ndarray], where: str
) -> tuple[Dataset, Dataset]:
    """Cut and fill up the series at ``rows``, int64 [M] each, to one length.

    Raises
    ------
    ValueError
        They have different channels, ``data.mean`` or ``data.std`` others, or memory cannot hold
        them.
    """
    parts = (splits.train, splits.test)
    channels = [part.shape[0] for part in parts]
    if channels[0] != channels[1]:
        raise ValueError(
            f"{where}: the training series have {channels[0]} channel(s) and the test series "
            f"{channels[1]}: make them the same"
        )
    check_channels(config, channels[0])
    length = config.length or max(part.shape[1] for part in parts)
    train, test = (
        _fit_part(part, index, length, f"{where}: {split}")
        for part, index, split in zip(parts, rows, ("train", "test"), strict=True)
    )
    return train, test


def check_channels(config: SeriesData, channels: int) -> None:
    """Raise a ValueError where ``data.mean`` or ``data.std`` is of other channels."""
    for name, values in (("mean", config.mean), ("std", config.std)):
        if len(values) not in (1, channels):
            raise ValueError(
                f"data.{name} has {len(values)} numbers, and the series {channels} channel(s): "
                "give one, or one for each"
            )


def fit(series: Tensor, length: int) -> Tensor:
    """Cut series [N, C, T] to so many steps, or fill them up with NaN."""
    return F.pad(series, (0, length - series.shape[2]), value=torch.nan).contiguous()


@dataclass(frozen=True)
class Fitted:
    """Some of a source's series, each checked and made of one length once it is fetched."""

    source: Examples
    """With series float32 [*, C, T]."""
    rows: Tensor
    """int64 [N]: the source's rows that are used."""
    length: int
    where: str
    """What errors call the series."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, C and the length."""
        return len(self.rows), self.source.shape[1], self.length

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Fetch and fit; a ValueError says what the source gave that it should not."""
        if not len(rows):
            return torch.empty(0, *self.shape[1:])
        series = self.source[self.rows[rows]]
        expected = [len(rows), *self.source.shape[1:]]
        if series.dtype != torch.float32 or list(series.shape) != expected:
            raise ValueError(
                f"{self.where} gave series {series.dtype} {list(series.shape)} for {len(rows)} "
                f"rows: they must be torch.float32 {expected}"
            )
        check_values(series, self.where)
        return fit(series, self.length)


def _fit_part(dataset: Dataset, rows: np.ndarray, length: int, where: str) -> Dataset:
    if isinstance(dataset.examples, Tensor):
        check_memory(len(rows), dataset.shape[0], length, where)
        dataset = dataset if len(rows) == len(dataset) else dataset.take(rows)
        made = fit(dataset.fetch(), length)
        # A cut may have left nothing but what is not there.
        check_values(made, f"{where}, cut to data.length = {length}")
        return replace(dataset, examples=made)
    index = torch.from_numpy(rows)
    fitted = Fitted(dataset.examples, index, length, where)
    fitted[torch.zeros(1, dtype=torch.int64)]  # so that mistakes show before any work
    fields = {name: values[rows] for name, values in dataset.fields.items()}
    return replace(dataset, examples=fitted, labels=dataset.labels[index], fields=fields)


def padded(series: Sequence[np.ndarray], length: int | None, where: str) -> Tensor:
    """Return series [t, C], of any lengths t, as float32 [N, C, T], filled up with NaN.

    Parameters
    ----------
    series : Sequence[np.ndarray]
        N ≥ 1, of one C and any type of number.
    length : int | None
        T, to which longer ones are cut; None for that of the longest.
    where : str
        What errors call them.
    """
    length = length or max(len(one) for one in series)
    channels = series[0].shape[1]
    check_memory(len(series), channels, length, where)
    made = np.full((len(series), channels, length), np.nan, np.float32)
    for row, one in zip(made, series, strict=True):
        row[:, : len(one)] = one[:length].T
    return torch.from_numpy(made)


def check_memory(count: int, channels: int, length: int, where: str) -> None:
    """Raise a ValueError where float32 series of this shape are too large."""
    needed, there = 4 * count * channels * length, memory()
    if channels * length > LARGEST or (there is not None and needed > there):
        machine = "" if there is None else f", and this machine has {there / 1e9:,.1f}"
        raise ValueError(
            f"{where}: {count:,} series of {channels:,} channel(s) and {length:,} steps would take "
            f"{needed / 1e9:,.1f} GB{machine}: give a smaller data.length or data.limit"
        )
