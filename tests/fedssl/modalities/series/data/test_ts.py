"""Reading .ts files, against files written by hand."""

from pathlib import Path

import numpy as np
import pytest

from fedssl.modalities import load
from fedssl.modalities.series.data.ts import SeriesTs

PLAIN = """# A comment.
@problemName Hand
@timeStamps false
@missing false
@univariate true
@equalLength true
@seriesLength 3
@classLabel true yes no

@data
1.0,2.5,-3e1:yes
4,5,6:no
"""

MANY = """@problemName Many
@timeStamps false
@univariate false
@dimensions 2
@equalLength false
@classLabel true 1 2 10
@data
1,2,?:4,5,6:10
7,8:9,NaN:2
3:4:1
"""


def written(folder: Path, train: str, test: str | None = None) -> SeriesTs:
    (folder / "X_TRAIN.ts").write_text(train)
    if test is not None:
        (folder / "X_TEST.ts").write_text(test)
    return SeriesTs(train=folder / "X_TRAIN.ts")


def test_a_series_a_line(tmp_path: Path) -> None:
    splits = load(written(tmp_path, PLAIN, PLAIN))
    assert splits.train.fetch().tolist() == [[[1, 2.5, -30]], [[4, 5, 6]]]
    assert splits.train.class_names == ("yes", "no")
    assert splits.train.labels.tolist() == [0, 1]
    assert splits.notes == ("data.test: null, so X_TEST.ts is read",)


def test_channels_gaps_and_lengths(tmp_path: Path) -> None:
    series = load(written(tmp_path, MANY, MANY)).train
    n = np.nan
    expected = [
        [[1, 2, n], [4, 5, 6]],
        [[7, 8, n], [9, n, n]],
        [[3, n, n], [4, n, n]],
    ]
    assert np.array_equal(series.fetch().numpy(), np.array(expected, np.float32), equal_nan=True)
    assert [series.class_names[label] for label in series.labels] == ["10", "2", "1"]


def test_classes_of_the_test_file_in_another_order_are_the_same(tmp_path: Path) -> None:
    splits = load(written(tmp_path, PLAIN, PLAIN.replace("true yes no", "true no yes")))
    assert splits.test.class_names == ("yes", "no")
    assert splits.test.labels.tolist() == [0, 1]


def test_without_a_test_file_a_fifth_is_held_out(tmp_path: Path) -> None:
    lines = "".join(f"{n},1,2:{'yes' if n % 2 else 'no'}\n" for n in range(20))
    config = written(tmp_path, PLAIN + lines)
    splits = load(config)
    assert (len(splits.train), len(splits.test)) == (18, 4)
    assert splits.notes == ("data.test: null, so a fifth of data.train is held out: 4 series",)
    assert len(load(config.model_copy(update={"length": 2})).train.fetch()[0, 0]) == 2


def test_without_classes_nothing_is_labelled(tmp_path: Path) -> None:
    bare = PLAIN.replace("@classLabel true yes no", "@classLabel false")
    bare = bare.replace(":yes", "").replace(":no", "")
    splits = load(written(tmp_path, bare, bare))
    assert splits.train.labels.tolist() == [-1, -1]
    assert splits.train.class_names == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("@timeStamps false", "@timeStamps true", "line 3 says @timeStamps true, and series with"),
        ("1.0,2.5", "(0,1.0),(1,2.5)", "line 11 holds timestamps, which are not read"),
        ("@classLabel true yes no", "@targetLabel true", "line 8 says @targetLabel true"),
        ("@classLabel true yes no", "@classLabel true", "line 8 must name the classes"),
        (":yes", ":maybe", "line 11 ends in the class 'maybe', which @classLabel does not name"),
        ("2.5", "two", "line 11 holds 'two', which is no number; write \\?"),
        ("2.5", "inf", "line 11 holds an infinite value"),
        ("2.5", "1e300", "line 11 holds an infinite value"),
        ("4,5,6", "?,?,?", "line 12 has no value at all"),
        ("4,5,6", "4,5", "line 12 has 2 steps, and @seriesLength is 3"),
        ("4,5,6", "4,5,6:7,8,9", r"line 12 has 2 channel\(s\), and the head says 1"),
        ("@seriesLength 3", "@seriesLength three", "line 7 must give @serieslength as a whole"),
        ("@data", "data", "line 10 comes before @data, and does not begin with @ or #"),
        ("@univariate true\n", "", r"channel|X_TRAIN"),
    ],
)
def test_what_is_malformed_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = PLAIN.replace(old, new)
    assert text != PLAIN
    if message == r"channel|X_TRAIN":
        text = text.replace("4,5,6", "4,5,6:7,8,9")
        message = r"line 11 has 2 channel\(s\), and the first series has 1"
    with pytest.raises(ValueError, match=rf"data\.train = .*X_TRAIN\.ts: {message}"):
        load(written(tmp_path, text, PLAIN))


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such file"):
        load(SeriesTs(train=tmp_path / "gone.ts"))
    for content, message in [
        (b"\xff\xfe\x00", "is no text in UTF-8"),
        (b"", "has no line @data"),
        (b"@data\n", "has no series after @data"),
    ]:
        (tmp_path / "X.ts").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load(SeriesTs(train=tmp_path / "X.ts"))
