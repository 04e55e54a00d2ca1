"""Reading .npz files of series."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedssl.modalities import load
from fedssl.modalities.series.data.npz import SeriesNpz
from tests.tools.series_archives import LABELS, OFFSETS, SERIES, VALUES, written


def test_series_labels_and_columns_come_back(tmp_path: Path) -> None:
    subjects = np.array(["zoe", "abe", "zoe", "kim", "abe", "kim"])
    train = {"series": SERIES, "labels": LABELS, "subject": subjects, "device": LABELS + 5}
    splits = load(written(tmp_path, train))
    assert np.array_equal(splits.train.fetch().numpy(), SERIES)
    assert splits.train.labels.tolist() == LABELS.tolist()
    assert splits.train.fields["subject"].tolist() == [2, 0, 2, 1, 0, 1]
    assert splits.train.field_names["subject"] == ("abe", "kim", "zoe")
    assert splits.train.fields["device"].tolist() == [5, 6, 7, 5, 6, 7]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float16, np.float64])
def test_numbers_of_any_type_become_float32(tmp_path: Path, dtype: Any) -> None:
    whole = (10 * SERIES[:, 0]).astype(int) % 100
    np.savez(tmp_path / "x.npz", series=whole.astype(dtype), labels=LABELS)
    path = tmp_path / "x.npz"
    series = load(SeriesNpz(train=path, test=path)).train.fetch()
    assert series.dtype == torch.float32
    assert np.array_equal(series[:, 0].numpy(), whole)


def test_one_file_may_hold_both_splits(tmp_path: Path) -> None:
    path = tmp_path / "both.npz"
    np.savez(
        path,
        train_values=VALUES,
        train_offsets=OFFSETS,
        train_labels=LABELS,
        test_series=SERIES,
        test_labels=LABELS,
        val_series=SERIES,
    )
    splits = load(SeriesNpz(train=path))
    assert splits.notes == (
        "data.train: read from `train_values`: 6 series",
        "data.test: read from `test_series`: 6 series",
        "data.test: `val_series` is not used",
    )
    assert splits.train.fields == {}


def test_without_a_test_file_a_fifth_is_held_out_and_a_limit_holds(tmp_path: Path) -> None:
    path = tmp_path / "all.npz"
    np.savez(path, series=np.repeat(SERIES, 5, 0), labels=np.repeat(LABELS, 5))
    splits = load(SeriesNpz.model_validate({"train": path, "limit": {"train": 6}}))
    assert splits.train.labels.bincount().tolist() == [2, 2, 2]
    assert splits.test.labels.bincount().tolist() == [2, 2, 2]


def with_one(value: float) -> np.ndarray:
    series = SERIES.copy()
    series[4, 1, 3] = value
    return series


NOWHERE = SERIES.copy()
NOWHERE[3] = np.nan


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": LABELS}, r"no array `series` or `values` \(nor `train_series` or"),
        ({"series": SERIES.astype(str)}, "`series` is <U.*: store numbers"),
        ({"series": SERIES.astype(complex)}, "`series` is complex128: store numbers"),
        ({"series": SERIES[None]}, r"shape \[1, 6, 2, 5\]: it must be \[N, C, T\] or \[N, T\]"),
        ({"series": SERIES[..., :0]}, r"shape \[6, 2, 0\]"),
        ({"series": with_one(np.inf)}, r"train\.npz: series 4 holds an infinite value"),
        ({"series": SERIES.astype(float) * 1e300}, r"train\.npz: series 0 holds an infinite value"),
        ({"series": NOWHERE}, r"train\.npz: series 3 has no value at all, only NaN"),
        ({"series": SERIES, "labels": LABELS[:5]}, r"shape \[5\], but there are 6 series"),
        ({"series": SERIES[:, :1]}, r"training series have 1 channel\(s\) and the test series 2"),
        ({"values": VALUES}, r"`values` needs `offsets`, integers \[N \+ 1\]"),
        ({"values": VALUES, "offsets": OFFSETS / 1}, "`values` needs `offsets`, integers"),
        ({"values": VALUES, "offsets": OFFSETS[:, None]}, "`values` needs `offsets`, integers"),
        ({"values": VALUES[None], "offsets": OFFSETS}, r"`values` has the shape \[1, 12, 2\]"),
        (
            {"values": VALUES, "offsets": np.array([0, 4, 3, 12])},
            "`offsets` must ascend, but goes from 4 to 3 at series 1",
        ),
        ({"values": VALUES, "offsets": np.array([0, 4, 4, 12])}, "from 4 to 4 at series 1"),
        ({"values": VALUES, "offsets": OFFSETS + 1}, "go from 1 to 13: they must go from 0 to 12"),
        ({"values": VALUES, "offsets": OFFSETS[:-1]}, "go from 0 to 10: they must go from 0 to 12"),
        (
            {"values": VALUES, "offsets": np.array([0, 2**63 + 5, 2**64 - 1], np.uint64)},
            "they must go from 0 to 12",
        ),
        ({"values": VALUES, "offsets": np.array([0, -3, 12])}, "from 0 to -3 at series 0"),
    ],
)
def test_what_is_malformed_is_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(written(tmp_path, arrays))
