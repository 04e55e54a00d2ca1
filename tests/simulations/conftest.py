"""A small experiment, and runs without a report."""

from collections.abc import Callable
from pathlib import Path

import pytest

from simulations.reports.run_report import report
from simulations.server import rounds as runner
from simulations.settings.experiment import Experiment, load_experiment
from tests.tools.small_experiment import WHOLE, write_small


@pytest.fixture
def small(tmp_path: Path, write_npz: Callable[..., Path]) -> Callable[..., Experiment]:
    """Load a small BYOL experiment with half of four clients a round."""
    path = write_small(tmp_path, WHOLE, write_npz)
    return lambda *overrides: load_experiment(path, overrides)


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no report, which takes half of a small run's time."""
    monkeypatch.setattr(runner, "report", lambda folder: None)


@pytest.fixture
def with_report(without_report: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw it, in a module whose other runs have none."""
    monkeypatch.setattr(runner, "report", report)
