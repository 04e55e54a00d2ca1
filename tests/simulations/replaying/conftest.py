"""A run to replay."""

import shutil
from pathlib import Path

import pytest

from tests.tools.replayed_runs import make_run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs"), "fedavgm", "strategy.name=fedavgm")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the run, beside its data."""
    for file in made.parent.glob("*.npz"):
        shutil.copy(file, tmp_path)
    return Path(shutil.copytree(made, tmp_path / "run"))
