"""Reading folders of CSV files."""

import os
from pathlib import Path

import pytest

from fedssl.modalities import load
from fedssl.modalities.series.data.files import LARGEST
from fedssl.modalities.series.data.folder import SeriesCsv


def test_folders_are_subjects_and_classes(recordings: Path) -> None:
    splits = load(SeriesCsv(train=recordings))
    assert splits.notes == (
        "data.train: folders read as domain/class: 3 domains, 2 classes, 30 series",
        "data.test: null, so a fifth of each class of data.train is held out: 6 series",
    )
    assert splits.train.class_names == ("run", "walk")
    assert splits.train.field_names["domain"] == ("anna", "bert", "cleo")
    assert splits.train.shape == (2, 7)
    longest = splits.train.fetch()[~splits.train.fetch().isnan().any(2).any(1)][0]
    assert longest.tolist() == [[*range(7)], [step * 0.5 for step in range(7)]]


def test_where_and_limit_choose_before_anything_is_read(recordings: Path) -> None:
    (recordings / "bert" / "run" / "0.csv").write_text("nothing to be read")
    config = SeriesCsv.model_validate(
        {
            "train": recordings,
            "where": {"domain": "anna"},
            "test_where": {"domain": "cleo"},
            "limit": {"train": 4},
        }
    )
    splits = load(config)
    assert (len(splits.train), len(splits.test)) == (4, 10)
    assert splits.train.labels.bincount().tolist() == [2, 2]


def test_a_list_names_files_and_columns(recordings: Path, tmp_path: Path) -> None:
    lines = [f"all/anna/run/{n}.csv,{'run' if n % 2 else 'walk'},m{n % 2}" for n in range(5)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,machine", *lines]))
    splits = load(SeriesCsv(train=tmp_path / "list.csv", test=recordings / "anna"))
    assert splits.train.field_names["machine"] == ("m0", "m1")
    assert splits.train.class_names == splits.test.class_names == ("run", "walk")


def test_all_bad_files_are_listed_and_large_ones_are_not_read(recordings: Path) -> None:
    (recordings / "anna" / "run" / "1.csv").write_bytes(b"\xff\xff")
    os.truncate(recordings / "anna" / "run" / "2.csv", LARGEST + 1)
    (recordings / "anna" / "run" / "book.xlsx").write_bytes(b"")
    with pytest.raises(ValueError, match="3 of 31 files cannot be read as series") as caught:
        load(SeriesCsv(train=recordings))
    for why in ("no text in UTF-8", "larger than 256 MB; cut it", "a spreadsheet; save it as CSV"):
        assert why in str(caught.value)
