from collections.abc import Callable
from pathlib import Path

import pytest

from simulations.server.server import Server
from simulations.settings.experiment import Experiment
from tests.tools.command import fedssl

Small = Callable[..., Experiment]


def test_run_prints_a_line_a_round_and_where_the_report_lies(config: Path) -> None:
    result = fedssl("run", config, "rounds=1", "strategy.name=fedavg", "--device", "cpu")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("round 0/1: linear ")
    assert lines[1].startswith("round 1/1: 2 clients  loss ")
    assert lines[-1] == "report: runs/small/report.html"
    assert (config.parent / "runs" / "small" / "report.html").exists()


@pytest.mark.slow
def test_each_run_has_a_folder_of_its_own_and_resume_takes_the_newest(config: Path) -> None:
    for _ in range(2):
        assert fedssl("run", config, "rounds=1", "--quiet").exit_code == 0
    result = fedssl("run", config, "rounds=1", "--quiet", "--resume")
    assert result.output == "report: runs/small-2/report.html\n"


@pytest.mark.slow
def test_profile_prints_where_the_time_went_unless_quiet(config: Path) -> None:
    result = fedssl("run", config, "rounds=1", "--profile")
    assert result.exit_code == 0, result.output
    heads = [line.split() for line in result.output.splitlines()]
    parts = ["views", "step", "merge", "probe", "save", "engine", "wait"]
    assert ["round", "seconds", "clients", *parts] in heads
    assert {"total", "share"} <= {head[0] for head in heads if head}
    result = fedssl("run", config, "rounds=1", "--profile", "--quiet")
    assert result.output == "report: runs/small-2/report.html\n"
    assert (config.parent / "runs" / "small-2" / "profile" / "trace.json").exists()


def test_a_wrong_config_is_told_without_a_traceback_and_leaves_nothing(config: Path) -> None:
    result = fedssl("run", config, "client.lr=-1")
    assert result.exit_code == 2
    assert "client.lr = -1" in result.stderr
    assert "Traceback" not in result.stderr
    result = fedssl("run", config, "data.train=gone.npz")
    assert result.exit_code == 2
    assert not any((config.parent / "runs").iterdir())


def test_ctrl_c_says_how_to_go_on(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "train", interrupted)
    result = fedssl("run", config, "rounds=2")
    assert result.exit_code == 130
    assert f"fedssl run {config} rounds=2 --resume --out runs/small" in result.stderr
    monkeypatch.undo()
    monkeypatch.chdir(config.parent)
    assert fedssl("run", config, "rounds=2", "--resume", "--out", "runs/small").exit_code == 0
