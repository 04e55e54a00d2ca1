"""The script that holds two checkouts to the same bits finds every kind of difference."""

import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.same_bits import compare, main, metrics_differ, over, tensors_differ

ROOT = Path(__file__).parents[1]

Rows = list[dict[str, Any]]


def tensors() -> dict[str, Tensor]:
    return {
        "encoder.weight": torch.arange(6.0).reshape(2, 3),
        "encoder.count": torch.tensor(4),
        "encoder.empty": torch.tensor([math.nan, 0.0]),
    }


def rows() -> Rows:
    return [
        {"round": 0, "train_loss": None, "rankme": 3.25, "seconds": 1.5},
        {"round": 1, "train_loss": 0.5, "rankme": math.nan, "cohort": [0, 2], "seconds": 2.5},
    ]


def write(folder: Path, state: dict[str, Tensor], table: Rows, **metadata: str) -> Path:
    folder.mkdir()
    save_file(state, folder / "model.safetensors", metadata)
    text = "".join(json.dumps(row) + "\n" for row in table)
    (folder / "metrics.jsonl").write_text(text)
    return folder


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return write(tmp_path / "before", tensors(), rows(), format="1")


def test_seconds_metadata_and_further_metrics_may_differ(before: Path, tmp_path: Path) -> None:
    table = rows()
    for row in table:
        row |= {"seconds": 9.0, "train_seconds": 1.0, "new": 1}
    after = write(tmp_path / "after", tensors(), table, format="2")
    assert compare("run", before, after).same


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "encoder.weight",
            torch.tensor([[0.0, 1, 2], [3, 4.5, 6]]),
            "tensor encoder.weight[1, 1]: 4.0 before, 4.5 after (2 of 6 differ)",
        ),
        ("encoder.count", torch.tensor(5), "tensor encoder.count[]: 4 before, 5 after"),
        # The same number, but not the same bits.
        ("encoder.empty", torch.tensor([math.nan, -0.0]), "[1]: 0.0 before, -0.0 after"),
        ("encoder.count", torch.tensor(4, dtype=torch.int32), "int64 [] before, int32 [] after"),
        ("encoder.weight", torch.arange(6.0), "float32 [2, 3] before, float32 [6] after"),
        ("more", torch.zeros(1), "tensor more is new after"),
        ("encoder.weight", None, "tensor encoder.weight is missing after"),
    ],
)
def test_a_changed_tensor_is_found(
    before: Path, tmp_path: Path, name: str, value: Tensor | None, told: str
) -> None:
    state = tensors()
    if value is None:
        del state[name]
    else:
        state[name] = value
    after = write(tmp_path / "after", state, rows())
    assert told in tensors_differ(before, after)
    assert metrics_differ(before, after) == ""


@pytest.mark.parametrize(
    ("number", "changes", "told"),
    [
        (1, {"train_loss": 0.5000001}, "round 1, train_loss: 0.5 before, 0.5000001 after"),
        (1, {"cohort": [2, 0]}, "round 1, cohort: [0, 2] before, [2, 0] after"),
        (1, {"rankme": 1.0}, "round 1, rankme: nan before, 1.0 after"),
        (0, {"train_loss": 0.0}, "round 0, train_loss: None before, 0.0 after"),
    ],
)
def test_a_changed_metric_is_found(
    before: Path, tmp_path: Path, number: int, changes: dict[str, Any], told: str
) -> None:
    table = rows()
    table[number] |= changes
    after = write(tmp_path / "after", tensors(), table)
    assert metrics_differ(before, after) == told
    assert tensors_differ(before, after) == ""


def test_a_missing_metric_row_or_file_is_found(before: Path, tmp_path: Path) -> None:
    table = rows()
    del table[1]["rankme"]
    lacks = write(tmp_path / "lacks", tensors(), table)
    assert metrics_differ(before, lacks) == "round 1, rankme: nan before, missing after"
    assert metrics_differ(before, write(tmp_path / "short", tensors(), rows()[:1])) == (
        "2 rows before, 1 after"
    )
    (lacks / "metrics.jsonl").unlink()
    (lacks / "model.safetensors").unlink()
    found = compare("run", before, lacks)
    assert found.metrics == f"{lacks / 'metrics.jsonl'} is missing"
    assert found.tensors == f"{lacks / 'model.safetensors'} is missing"
    assert not found.same


def test_changes_of_a_config_keep_what_they_do_not_name() -> None:
    config = {"rounds": 2, "strategy": {"name": "ldawa", "floor": 1}}
    assert over(config, {"strategy": {"warmup_rounds": 1}}) == {
        "rounds": 2,
        "strategy": {"name": "ldawa", "floor": 1, "warmup_rounds": 1},
    }
    assert over(config, {"strategy": {"name": "krum"}})["strategy"] == {"name": "krum"}


def test_a_folder_that_is_no_checkout_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main([str(tmp_path), str(ROOT)]) == 1
    assert f"{tmp_path}: is no checkout of fedssl" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def copy(folder: Path) -> Path:
    """Copy the repository's code."""
    for package in ("fedssl", "strategies", "clients", "simulations", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    return folder


@pytest.mark.slow
def test_a_checkout_gives_its_own_bits_and_a_changed_default_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where runs that differ are left.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    changed = copy(tmp_path / "changed")
    assert main([str(ROOT), str(changed), "--only", "objective/dcl"]) == 0
    assert "1 of 1 runs are the same" in capsys.readouterr().out
    source = changed / "fedssl" / "objectives" / "dcl.py"
    text = source.read_text()
    assert "temperature: Number = Field(0.1, gt=0)" in text
    source.write_text(text.replace("Field(0.1, gt=0)", "Field(0.1000001, gt=0)"))
    assert main([str(ROOT), str(changed), "--only", "objective/dcl"]) == 1
    told = capsys.readouterr().out
    assert "objective/dcl: tensor encoder." in told
    assert "objective/dcl: round 1, train_loss: " in told
    assert "0 of 1 runs are the same" in told
