"""Reading a text file of one series."""

from pathlib import Path

import numpy as np
import pytest

from fedssl.modalities import load
from fedssl.modalities.series.data.files import read_file
from fedssl.modalities.series.data.folder import SeriesCsv

N = np.nan


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
