"""Series as a modality: what is checked, and the sheet."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedssl.data import Dataset, Splits
from fedssl.modalities import load
from fedssl.modalities.series import SERIES
from fedssl.modalities.series.data.config import OwnSeries
from fedssl.modalities.series.data.npz import SeriesNpz
from fedssl.modalities.series.sheet import ROWS
from fedssl.testing import check_modality
from tests.tools.series import series_of

HERE = "tests.fedssl.modalities.series.test_series"


def test_it_keeps_the_contract_of_modalities() -> None:
    check_modality("series", {"name": "waves", "limit": {"train": 32, "test": 16}})


class OnDemand:
    """Fetches series of two channels, ten steps each."""

    shape: Sequence[int] = (30, 2, 10)

    def __init__(self, value: float = 1.0):
        self.value = value

    def __getitem__(self, rows: Tensor) -> Tensor:
        return rows[:, None, None].float().expand(-1, 2, 10) * self.value


def own_series(value: float = 1.0) -> Splits:
    part = Dataset(OnDemand(value), torch.arange(30) % 3, ("a", "b", "c"))
    return Splits(part, part)


def own(length: int | None = None, **fields: Any) -> OwnSeries:
    return OwnSeries.model_validate(
        {"name": f"{HERE}.own_series", "modality": "series", "length": length, **fields}
    )


def test_series_of_ones_own_may_be_on_demand() -> None:
    splits = load(own(length=12, limit={"train": 6}))
    assert list(splits.train.examples.shape) == [6, 2, 12]
    some = splits.train.fetch(np.array([1]))
    assert torch.unique(some[..., :10]).numel() == 1
    assert some[..., 10:].isnan().all()
    with pytest.raises(ValueError, match="train: series 0 has no value at all"):
        load(own(value=float("nan")))


def by_hand(examples: Any) -> Splits:
    part = Dataset(examples, torch.zeros(len(examples), dtype=torch.int64), ("a",))
    return Splits(part, part)


def test_stored_series_are_float32() -> None:
    good = by_hand(torch.zeros(2, 1, 3)).train
    SERIES.check(good, "x")
    for wrong in (torch.zeros(2, 3), torch.zeros(2, 1, 3).double(), torch.zeros(2, 0, 3)):
        with pytest.raises(ValueError, match=r"series are .*: they must be float32 \[N, C, T\]"):
            SERIES.check(by_hand(wrong).train, "x")


def test_preparation_standardises_by_channel_and_leaves_nan() -> None:
    config = own(mean=(1.0, 2.0), std=(2.0, 4.0))
    series = torch.tensor([[[1.0, 3.0, torch.nan], [2.0, torch.nan, 10.0]]])
    prepared = SERIES.preparation(config)(series)
    expected = torch.tensor([[[0.0, 1.0, torch.nan], [0.0, torch.nan, 2.0]]])
    torch.testing.assert_close(prepared, expected, equal_nan=True)
    assert series[0, 0, 1] == 3


def test_a_mean_of_two_series_is_not_there_where_either_is_not() -> None:
    assert SERIES.mixes
    assert not SERIES.turns
    one, other = series_of(4, 2, 12, 0), series_of(4, 2, 12, 1)
    mean = 0.3 * one + 0.7 * other
    assert torch.equal(mean.isnan(), one.isnan() | other.isnan())


@pytest.mark.parametrize("channels", [1, 8])
def test_the_sheet_has_a_line_for_each_channel(channels: int) -> None:
    config = SeriesNpz(train=Path("x"), mean=(1.0,), std=(2.0,))
    series = series_of(20, channels, 30)
    views = [SERIES.preparation(config)(series), torch.randn(20, channels, 68)]
    figure = SERIES.sheet(series, views, config)
    assert len(figure.axes) == 3 * ROWS
    lines = figure.axes[0].get_lines()
    assert len(lines) == channels
    expected = ((series[0, 0] - 1) / 2).numpy()
    assert np.allclose(np.asarray(lines[0].get_ydata(), float), expected, equal_nan=True)
    titles = [axes.get_title() for axes in figure.axes]
    assert [title for title in titles if title] == ["series", "view 1", "view 2"]
    content = io.BytesIO()
    figure.savefig(content, format="png")
    assert content.getvalue().startswith(b"\x89PNG")
