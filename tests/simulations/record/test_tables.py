import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedssl.base.config_file import ConfigError
from simulations.record.tables import (
    has_partition,
    read_divergence,
    read_metrics,
    read_partition,
    read_predictions,
)

HEAD = "round,client,tensor,divergence\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "divergence.csv"


def test_rounds_are_those_that_were_evaluated_and_tensors_in_the_models_order(file: Path) -> None:
    file.write_text(
        HEAD + "4,0,encoder.b.weight,0.9\n4,0,encoder.a.weight,0.8\n"
        "4,7,encoder.b.weight,0.7\n4,7,encoder.a.weight,1\n10,7,encoder.b.weight,0.5\n10,7,enc"
    )
    found = read_divergence(file)
    assert (found.tensors, found.rounds) == (["encoder.b.weight", "encoder.a.weight"], [4, 10])
    np.testing.assert_allclose(found.deltas, [[0.8, 0.5], [0.9, np.nan]])


def test_drift_is_of_the_encoders_trained_tensors(file: Path) -> None:
    file.write_text(
        HEAD + "2,1,encoder.0.weight,0.9\n2,1,encoder.0.bias,0.7\n2,1,encoder.0.running_mean,0\n"
        "2,1,encoder.0.running_var,0\n2,1,projector.0.weight,0\n4,1,encoder.0.weight,1\n"
        "4,1,encoder.0.bias,1\n4,0,encoder.0.weight,-0.5\n"
    )
    drift = read_divergence(file).drift
    assert list(drift) == [0, 1]
    assert drift == pytest.approx({0: 1.5, 1: 0.1})


def test_before_a_round_is_evaluated_there_is_nothing(file: Path) -> None:
    file.write_text(HEAD)
    found = read_divergence(file)
    assert (found.tensors, found.rounds, found.deltas.size, found.drift) == ([], [], 0, {})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1,0,w,nan\n", "line 2, .* 'nan' is no cosine"),
        ("1,0,w,1.5\n", "line 2, .* is no cosine"),
        ("1,-1,w,1\n", "line 2, .* '-1' is not from 0"),
        (f"1,{10**20},w,1\n", "line 2, .* is not from 0"),
        ("1,0,,1\n", "line 2, .* it names no tensor"),
        ("2,0,w,1\n1,0,w,1\n", "line 3, .* round 1 comes after round 2"),
        ("1,0,w,1\n1,0,w,1\n", "client 0 is in round 1 twice"),
        ("1,0,w,1\n1,1,w,1\n1,0,v,1\n", "client 0 is in round 1 twice"),
        ('1,0,"w,1\n', "unexpected end of data"),
    ],
)
def test_lines_that_tell_no_divergence_are_named(file: Path, lines: str, message: str) -> None:
    file.write_text(HEAD + lines)
    with pytest.raises(ConfigError, match=f"divergence.csv.*{message}"):
        read_divergence(file)


def test_rounds_after_the_last_finished_one_are_left_out(file: Path) -> None:
    file.write_text(HEAD + "1,0,w,1\n2,0,w,0.5\n3,x")
    assert read_divergence(file, 1).rounds == [1]


def test_few_lines_make_no_large_table(file: Path) -> None:
    lines = "".join(f"{number},0,w{number},1\n" for number in range(1, 8000))
    file.write_text(HEAD + lines)
    with pytest.raises(ConfigError, match="7,999 tensors in 7,999 rounds"):
        read_divergence(file)


ROW: dict[str, Any] = {"cohort": [0], "failed": [], "bytes_up": 1, "bytes_down": 1, "seconds": 0.5}


def write_rows(folder: Path, *rows: object, tail: str = "") -> Path:
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return path


def test_rows_come_back_with_figures_that_nobody_knows(tmp_path: Path) -> None:
    rows = [
        {"round": 0, **ROW, "train_loss": None, "rankme": 3.5},
        {"round": 1, **ROW, "train_loss": float("inf"), "of_my_own": [1, {"a": "b"}]},
    ]
    path = write_rows(tmp_path, *rows, tail='{"round": 2, ')
    assert read_metrics(path) == rows
    assert read_metrics(path, 0) == rows[:1]
    with pytest.raises(ConfigError, match="ends with round 1, but the run has finished round 2"):
        read_metrics(path, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"round": 1}, "is of round 1, where round 0 is due"),
        ({"round": "0"}, "round = '0'"),
        ({"round": True}, "round = True"),
        ({"cohort": 3}, "cohort = 3"),
        ({"cohort": ["a"]}, r"cohort\.0 = 'a'"),
        ({"failed": [-1]}, r"failed\.0 = -1"),
        ({"seconds": float("nan")}, "seconds = nan"),
        ({"seconds": 1e308}, r"seconds = 1e\+308"),
        ({"train_seconds": float("inf")}, "train_seconds = inf"),
        ({"merge_seconds": -1.0}, r"merge_seconds = -1\.0"),
        ({"bytes_up": 10**30}, "bytes_up = 10"),
        ({"linear_accuracy": 1.5}, r"linear_accuracy = 1\.5"),
        ({"knn_accuracy": float("nan")}, "knn_accuracy = nan"),
        ({"train_loss": [1]}, r"train_loss = \[1\]"),
        ({"of_my_own": 10**400}, "of_my_own is no number of a sensible size"),
    ],
)
def test_what_is_no_row_is_told(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write_rows(tmp_path, {"round": 0, **ROW, **change})
    with pytest.raises(ConfigError, match=rf"metrics\.jsonl, line 1.*{message}.*; put the file"):
        read_metrics(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("0,a,1\n0,b,1\n0,a,2\n", "client 0 has class 'a' twice"),
        ("0,a,1\n67108863,a,1\n", "names client 67,108,863 in 2 lines"),
        ("0,a,0\n", "line 2, .*'0' is not from 1"),
        ("-1,a,1\n", "line 2, .*'-1' is not from 0"),
        ("1000000000000,a,1\n", "line 2, .*is not from 0"),
        (f"0,{'a' * 2000},1\n", "line 2, .*more than 1000 letters"),
        (f"0,{'a' * 100_000},1\n", "line 2: is longer than"),
    ],
)
def test_lines_that_tell_no_partition_are_named(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "partition.csv"
    path.write_text("client,class,examples\n" + lines)
    if "longer" not in message:
        assert has_partition(path)
    with pytest.raises(ConfigError, match=rf"partition\.csv.*{message}"):
        read_partition(path)


def test_predictions_are_read_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    label, other = np.array([0, -1, 2]), np.array([{}], dtype=object)
    np.savez_compressed(path, label=label, final=label + 1, other=other)
    found = read_predictions(path)
    assert found.keys() == {"label", "final"}
    np.testing.assert_array_equal(found["final"], [1, 0, 3])


def claims(count: int) -> bytes:
    """Return an archive whose array says that it has so many numbers, and has ten."""
    head, whole = io.BytesIO(), io.BytesIO()
    form = {"descr": "<i8", "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(head, form)
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("label.npy", head.getvalue() + bytes(80))
    return whole.getvalue()


def archive(**arrays: np.ndarray) -> bytes:
    whole = io.BytesIO()
    np.savez(whole, **arrays)  # type: ignore[arg-type]
    return whole.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no .npz file"),
        (b"\0" * 1000, "is no .npz file"),
        (claims(10**12), "claims 1,000,000,000,000 examples, which it does not hold"),
        (claims(11), "cut short|claims 11 examples"),
        (archive(label=np.array([{}], dtype=object)), "label.npy is object"),
        (archive(label=np.zeros(3)), "label.npy is float64"),
        (archive(label=np.zeros((3, 1), np.int64)), r"label.npy is int64 \[3, 1\]"),
        (archive(final=np.arange(3)), "has no array `label`"),
        (archive(label=np.arange(3), final=np.arange(4)), "differ in length"),
    ],
)
def test_what_are_no_predictions_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "predictions.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"predictions\.npz: .*({message})"):
        read_predictions(path)
