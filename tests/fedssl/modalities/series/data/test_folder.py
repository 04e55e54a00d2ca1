"""Reading folders of CSV files."""

import os
from pathlib import Path

import numpy as np
import pytest

from fedssl.modalities import load
from fedssl.modalities.series.data.files import LARGEST, read_file
from fedssl.modalities.series.data.folder import SeriesCsv

N = np.nan


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Write five files of three subjects and two classes each, of 3 to 7 steps."""
    for subject in ("anna", "bert", "cleo"):
        for name in ("run", "walk"):
            folder = tmp_path / "all" / subject / name
            folder.mkdir(parents=True)
            for number in range(5):
                lines = [f"{step},{step * 0.5}" for step in range(3 + number)]
                (folder / f"{number}.csv").write_text("\n".join(["x,y", *lines]) + "\n")
    return tmp_path / "all"


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


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("a.csv", "\ufeffacc x,acc y\r\n1, 2\r\n\r\n-3e-1,.5\r\n", [[1, 2], [-0.3, 0.5]]),
        ("a.csv", "1,\n,4\n,\nnan,5", [[1, N], [N, 4], [N, N], [N, 5]]),
        ("a.csv", "x\n1\n\n3\n\n", [[1], [N], [3]]),
        ("a.csv", "1;2\n3;4", [[1, 2], [3, 4]]),
        ("a.tsv", "x\ty\n1\t2\n\t4", [[1, 2], [N, 4]]),
        ("a.txt", "  1   2\n\n3 4 \n", [[1, 2], [3, 4]]),
        ("a.txt", "1,2\n3,4\n", [[1, 2], [3, 4]]),
    ],
)
def test_a_line_is_a_step(
    tmp_path: Path, name: str, text: str, expected: list[list[float]]
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    series, _ = read_file(str(tmp_path / name))
    assert series.dtype == np.float32
    assert np.array_equal(series, np.array(expected, np.float32), equal_nan=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3\n", r"line 2 has 1 cell\(s\), and the first has 2; give every line as many"),
        ("x,y\n1,2\n3,four\n", "line 3 holds 'four', which is no number; leave the cell empty"),
        ("x,2\n1,2\n", "line 1 holds 'x', which is no number"),
        ("1,2\n1_000,2\n", "line 2 holds '1_000', which is no number"),
        ("1,2\n٣,4\n", "line 2 holds '٣', which is no number"),
        ("1,5;2,5\n", "line 1 holds '5;2', which is no number"),
        ("1,2\n3,inf\n", "step 2 holds an infinite value"),
        ("1,2\n3,1e999\n", "step 2 holds an infinite value"),
        (",\n,\n", "it has no value at all"),
        ("x,y\n", "there is no line of numbers in it"),
        ("", "there is no line of numbers in it"),
        ('1,"2\n', "is no line of cells"),
        ("1\n2\n", "its columns are 1 without a head, and those of the first file that was read 2"),
        ("y,x\n1,2\n", r"its columns are 2 \(y, x\), and those of the first .* 2 \(x, y\)"),
    ],
)
def test_hostile_files_are_named(recordings: Path, text: str, message: str) -> None:
    bad = recordings / "bert" / "run" / "2.csv"
    bad.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load(SeriesCsv(train=recordings))
    assert str(caught.value).startswith(f"data: {bad} cannot be read as a series: ")


def test_all_bad_files_are_listed_and_large_ones_are_not_read(recordings: Path) -> None:
    (recordings / "anna" / "run" / "1.csv").write_bytes(b"\xff\xff")
    os.truncate(recordings / "anna" / "run" / "2.csv", LARGEST + 1)
    (recordings / "anna" / "run" / "book.xlsx").write_bytes(b"")
    with pytest.raises(ValueError, match="3 of 31 files cannot be read as series") as caught:
        load(SeriesCsv(train=recordings))
    for why in ("no text in UTF-8", "larger than 256 MB; cut it", "a spreadsheet; save it as CSV"):
        assert why in str(caught.value)
