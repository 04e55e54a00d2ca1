"""Comparisons whose folders were damaged, or made by somebody who means ill."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from fedssl.base.config_file import ConfigError
from simulations.cli import app
from simulations.comparing import report
from simulations.comparing.folder import ComparisonFolder
from tests.tools.fake_comparison import write_comparison

Edit = Callable[[dict[str, Any]], object]


def edit_plan(folder: Path, edit: Edit) -> None:
    file = folder / "plan.yaml"
    plan = yaml.safe_load(file.read_text())
    edit(plan)
    file.write_text(yaml.safe_dump(plan))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda plan: plan["runs"][0].update(folder="../../elsewhere"), "path below the"),
        (lambda plan: plan["runs"][0].update(folder="/etc"), "path below the"),
        (lambda plan: plan["runs"].pop(), "runs: .* at seed 1, but needs one|are fewer"),
        (lambda plan: plan["runs"].append(plan["runs"][0]), "has 2 at seed 0, but needs one"),
        (lambda plan: plan.update(baseline="nobody"), "baseline: names none of the strategies"),
        (lambda plan: plan.update(family=["nobody"]), "family: names none of the strategies"),
        (lambda plan: plan.update(seeds=[]), "at least one of each"),
        (lambda plan: plan.update(seeds=[1, 1]), "seeds: one is listed twice"),
        (lambda plan: plan.update(level=2.0), "level, margin"),
        (
            lambda plan: plan.update(strategies=["a\x1b[2J", "ldawa"]),
            "cannot be printed|names none",
        ),
        (
            lambda plan: plan.update(vary={f"f{n}": list("abcdefghij") for n in range(12)}),
            "are fewer than the cells",
        ),
    ],
)
def test_a_plan_that_does_not_hold_together_is_refused(
    tmp_path: Path, edit: Edit, message: str
) -> None:
    write_comparison(tmp_path)
    edit_plan(tmp_path, edit)
    with pytest.raises(ConfigError, match=rf"plan\.yaml(.|\n)*({message})"):
        report(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\xff\xfe", b"[1]", b"runs: &a [*a]\n"])
def test_what_is_no_plan_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.yaml").write_bytes(content)
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 2
    assert "plan.yaml" in result.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.jsonl", b"", "has no linear accuracy"),
        ("metrics.jsonl", b"\xff\n", "line 1: is not a text"),
        ("summary.json", b'{"rounds": 5}', "ends with round 4, but the run has finished round 5"),
        ("summary.json", b"[]", "holds no summary"),
        ("partition.csv", b"client,class,examples\n", "has no clients"),
        ("partition.csv", b"\0", "partition.csv"),
        ("divergence.csv", b"\0\n", "divergence.csv, line 1"),
        ("predictions.npz", b"\0", "is no .npz file"),
    ],
)
def test_a_damaged_run_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    results = write_comparison(tmp_path)
    folder = ComparisonFolder(tmp_path).run(results.plan.runs[0]).path
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"seed-0(.|\n)*{message}"):
        report(tmp_path)


def test_runs_of_other_rounds_or_other_test_examples_are_not_compared(tmp_path: Path) -> None:
    results = write_comparison(tmp_path)
    files = [ComparisonFolder(tmp_path).run(run) for run in results.plan.runs]
    for place, run in enumerate(files):
        labels = np.zeros(3 + (place == 2), np.int64)
        np.savez(run.predictions, label=labels, untrained=labels, final=labels)
    with pytest.raises(ConfigError, match="other test examples with a label than the runs"):
        report(tmp_path)
    for run in files:
        run.predictions.unlink()
    lines = files[2].metrics.read_text().splitlines(keepends=True)
    files[2].metrics.write_text("".join(lines[:3]))
    with pytest.raises(ConfigError, match="other evaluated rounds than the runs"):
        report(tmp_path)


def test_names_and_reasons_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    vary = {"views": ("[/red]", "<script>x</script>")}
    write_comparison(tmp_path, vary=vary, done=lambda run: run.seed == 0)
    reasons = tmp_path / "failed"
    for run in ComparisonFolder(tmp_path).plan.read().runs:
        file = reasons / f"{run.folder}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\x1b[2J<script>y</script>[/red]")
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "views = [/red]" in result.output
    assert "\\x1b[2J<script>y" in result.output
    assert (tmp_path / "report.html").read_text().count("<script") == 1


def test_pictures_stay_in_the_comparisons_folder(tmp_path: Path) -> None:
    write_comparison(tmp_path / "compared")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "compared" / "plots").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"plots: is a link"):
        report(tmp_path / "compared")
    assert not any((tmp_path / "elsewhere").iterdir())
