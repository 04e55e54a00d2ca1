"""A comparison that was made, and the config of another."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result

from simulations.server import rounds as runner
from tests.tools.command import fedssl
from tests.tools.tiny_comparison import GRID, TINY, write_tiny_examples


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A grid of which one strategy fails, as the command left it."""
    folder = tmp_path_factory.mktemp("grid")
    write_tiny_examples(folder)
    (folder / "tiny.yaml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # A report for each of the runs would take most of the time.
        patch.setattr(runner, "report", lambda _: None)
        result = fedssl("compare", "tiny.yaml", *GRID)
    return folder / "runs" / "tiny-compared", result


@pytest.fixture
def grid_folder(
    compared: tuple[Path, Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_report: None,
) -> Iterator[Path]:
    """Work where the comparison was made, and leave it as it was."""
    out, _ = compared
    shutil.copytree(out, tmp_path / "before")
    monkeypatch.chdir(out.parents[1])
    yield out
    shutil.rmtree(out)
    shutil.copytree(tmp_path / "before", out)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_report: None) -> Path:
    write_tiny_examples(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out"
