"""Comparisons whose folders were damaged, or made by somebody who means ill."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedssl.base.config_file import ConfigError
from simulations.cli import app
from simulations.comparing import report
from simulations.comparing.folder import ComparisonFolder
from tests.tools.fake_comparison import write_comparison


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
