"""The plan of a comparison."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from fedssl.base.config_file import ConfigError
from simulations.cli import app
from simulations.comparing import report
from tests.tools.command import fedssl
from tests.tools.fake_comparison import write_comparison
from tests.tools.tiny_comparison import GRID, TINY


def test_another_plan_or_another_config_is_refused(grid_folder: Path) -> None:
    plan = (grid_folder / "plan.yaml").read_bytes()
    more = fedssl("compare", "tiny.yaml", *GRID, "--seeds", "3")
    assert more.exit_code == 2
    assert "seeds was [3, 4], is now [3, 4, 5]" in more.stderr
    config = Path("tiny.yaml")
    config.write_text(TINY.replace("lr: 0.05", "lr: 0.06"))
    edited = fedssl("compare", "tiny.yaml", *GRID)
    config.write_text(TINY)
    assert edited.exit_code == 2
    assert "client.lr was 0.05, is now 0.06" in edited.stderr
    assert (grid_folder / "plan.yaml").read_bytes() == plan
    full = Path("full")
    full.mkdir()
    (full / "letter.txt").touch()
    assert "holds no comparison" in fedssl("compare", "tiny.yaml", *GRID, "--out", full).stderr


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
