"""Series of one length, of the channels that a config says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedssl.modalities import load
from fedssl.modalities.series.data.npz import SeriesNpz
from tests.tools.series_archives import OFFSETS, SERIES, VALUES, written


def test_series_of_different_lengths_end_in_nan(tmp_path: Path) -> None:
    series = load(written(tmp_path, {"values": VALUES, "offsets": OFFSETS})).train.fetch()
    assert series.shape == (6, 2, 5)
    for row, start, stop in zip(series, OFFSETS, OFFSETS[1:], strict=False):
        assert np.array_equal(row[:, : stop - start].T.numpy(), VALUES[start:stop])
        assert row[:, stop - start :].isnan().all()
    path = tmp_path / "one.npz"
    np.savez(path, values=VALUES[:, 0], offsets=OFFSETS)
    assert load(SeriesNpz(train=path, test=path)).train.shape == (1, 4)


@pytest.mark.parametrize("length", [1, 3, 9])
def test_length_cuts_and_fills_up(tmp_path: Path, length: int) -> None:
    splits = load(written(tmp_path, {"values": VALUES, "offsets": OFFSETS}, length=length))
    for part in (splits.train, splits.test):
        assert part.shape == (2, length)
    kept = min(length, 5)
    assert np.array_equal(splits.test.fetch()[..., :kept].numpy(), SERIES[..., :kept])
    assert splits.test.fetch()[..., kept:].isnan().all()
    long = splits.train.fetch()[2]
    assert np.array_equal(long[:, : min(length, 4)].T.numpy(), VALUES[3:7][:length])


def test_what_no_memory_holds_is_refused(
    tmp_path: Path, machine_memory: Callable[[int], None]
) -> None:
    config = written(tmp_path, {"series": SERIES}, length=1 << 20)
    machine_memory(10**6)
    with pytest.raises(
        ValueError, match=r"6 series of 2 channel\(s\) and 1,048,576 steps would ta"
    ):
        load(config)
    # One long series makes all others long.
    offsets = np.array([0, 1, 2, 3, 100_000])
    long = {"values": np.ones((100_000, 1), np.float32), "offsets": offsets}
    with pytest.raises(ValueError, match=r"4 series of 1 channel\(s\) and 99,997 steps would take"):
        load(written(tmp_path, long))


def test_constants_must_fit_the_channels(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"data\.mean has 3 numbers, and the series 2 channel\(s\)"
    ):
        load(written(tmp_path, {"series": SERIES}, mean=(0.0, 1.0, 2.0)))
