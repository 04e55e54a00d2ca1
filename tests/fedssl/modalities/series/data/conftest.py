"""Recordings in CSV files."""

from pathlib import Path

import pytest


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
