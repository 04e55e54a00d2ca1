import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from simulations.bench import Measurement
from tests.benchmarks import __main__ as command
from tests.benchmarks import metric_costs, million
from tests.benchmarks.against import PEERS


def run(*arguments: object) -> Any:
    return CliRunner().invoke(command.app, [str(argument) for argument in arguments])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the measuring, which takes minutes."""
    monkeypatch.setattr(
        metric_costs, "each_measure", lambda *_, times: [Measurement("knn", "CPU-s", 1.0)]
    )
    monkeypatch.setattr(million, "start", lambda: [Measurement("start", "s", 7.0)])
    monkeypatch.setitem(PEERS, "pfl", (lambda: "pip install it", list))
    peer = (lambda: None, lambda: [Measurement("views", "per s", 2.0, reference=1.0, ratio=2.0)])
    monkeypatch.setitem(PEERS, "lightly", peer)


@pytest.mark.usefixtures("quick")
def test_peers_are_measured_beside_the_rest_and_absent_ones_skipped(tmp_path: Path) -> None:
    result = run("--against", "pfl, lightly", "--json", tmp_path / "bench.json")
    assert result.exit_code == 0, result.output
    assert "measuring a million clients" in result.stderr
    assert "7.00" in result.stdout
    measurements = json.loads((tmp_path / "bench.json").read_text())["figures"]
    assert [measurement["name"] for measurement in measurements] == [
        "knn",
        "start",
        "against pfl",
        "views",
    ]
    assert measurements[2]["note"] == "not measured: pip install it"
    assert measurements[2]["met"] is None
    assert measurements[3]["ratio"] == 2.0


@pytest.mark.usefixtures("quick")
def test_without_peers_the_rest_is_measured() -> None:
    result = run()
    assert result.exit_code == 0, result.output
    assert "against" not in result.stdout


def test_growth_is_measured_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []

    def growth(folder: Path, on_start: Callable[[str, int, int], None]) -> None:
        folders.append(folder)
        on_start("10 clients", 1, 7)

    monkeypatch.setattr(command, "growth", growth)
    result = run("--growth", tmp_path / "growth")
    assert result.exit_code == 0, result.output
    assert folders == [tmp_path / "growth"]
    assert "measuring 10 clients (1 of 7)" in result.stderr
    assert result.stdout == f"picture: {tmp_path / 'growth' / 'growth.png'}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "flwer"], "there is no such peer; did you mean flower?"),
        (["--growth", "g", "--json", "b.json"], "leave out --json and --against"),
        (["--growth", "g", "--against", "pfl"], "leave out --json and --against"),
        (["--json", "gone/bench.json"], "--json gone/bench.json: there is no such folder"),
    ],
)
def test_the_command_refuses_before_it_measures(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "benchmarks", None)
    monkeypatch.setattr(command, "growth", None)
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
