"""Live logs, with fake modules in place of TensorBoard and wandb."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from simulations import ConfigError, Experiment
from simulations.cli import app
from simulations.progress.display import QuietDisplay
from simulations.progress.live_logs import LoggingDisplay
from simulations.record.run_folder import RunFolder

Small = Callable[..., Experiment]

pytestmark = pytest.mark.usefixtures("without_report")


class Recorder:
    """Stands for SummaryWriter and for wandb's run, which are given the same figures."""

    def __init__(self, *arguments: Any, **options: Any):
        self.made = (arguments, options)
        self.rounds: dict[int, dict[str, float]] = {}
        self.closed = False

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.rounds.setdefault(step, {})[name] = value

    def log(self, values: dict[str, float], step: int) -> None:
        self.rounds[step] = values

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    finish = close


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    recorders: list[Recorder] = []

    def open_one(*arguments: Any, **options: Any) -> Recorder:
        recorders.append(Recorder(*arguments, **options))
        return recorders[-1]

    for name, attribute in (("torch.utils.tensorboard", "SummaryWriter"), ("wandb", "init")):
        module = ModuleType(name)
        setattr(module, attribute, open_one)
        monkeypatch.setitem(sys.modules, name, module)
    return recorders


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_rows_are_logged_under_their_own_names(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: list[Recorder], name: str
) -> None:
    small()
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "small.yaml", "rounds=1", "--log", name, "--quiet"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (log,) = made
    assert log.closed
    rows = RunFolder(tmp_path / "runs" / "small").read_metrics()
    assert list(log.rounds) == [0, 1]
    for row in rows:
        logged = log.rounds[row.pop("round")]
        assert logged.pop("cohort") == len(row.pop("cohort"))
        assert logged.pop("failed") == len(row.pop("failed"))
        assert row.pop("failed_reasons") == {}
        assert logged == {key: value for key, value in row.items() if value is not None}
    if name == "tensorboard":
        assert log.made == (("runs/small/tensorboard",), {"purge_step": 0})
        again = CliRunner().invoke(app, [*arguments, "--resume"])
        assert again.exit_code == 0, again.output
        assert made[1].made[1] == {"purge_step": 2}
    else:
        assert log.made[1]["project"] == "fedssl"
        assert log.made[1]["name"] == "small"
        assert log.made[1]["config"]["seed"] == 3


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_what_is_not_installed_is_told_before_any_work(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    small()
    monkeypatch.chdir(tmp_path)
    for module in ("torch.utils.tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, module, None)
    result = CliRunner().invoke(app, ["run", "small.yaml", "--log", name])
    assert result.exit_code == 2
    assert f"--log {name}: is not installed" in result.stderr
    assert f"pip install 'fedssl[{name}]'" in result.stderr
    assert not any((tmp_path / "runs").iterdir())


def test_there_is_no_other_log(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--log wandbb: .* did you mean wandb\?"):
        LoggingDisplay(QuietDisplay(), "wandbb", tmp_path)
