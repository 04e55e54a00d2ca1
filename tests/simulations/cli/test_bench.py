import json
from pathlib import Path

import pytest

from simulations import bench
from simulations.bench import Benchmark, Measurement, Target
from tests.tools.command import fedssl


def test_bench_prints_a_table_and_writes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def benchmarks(*, quick: bool) -> dict[str, Benchmark]:
        asked.append(quick)
        return {
            "speed": lambda: [Measurement("speed", "per s", 7.0, target=Target(5, at_least=True))]
        }

    monkeypatch.setattr(bench, "benchmarks", benchmarks)
    result = fedssl("bench", "--quick", "--json", tmp_path / "bench.json")
    assert result.exit_code == 0, result.output
    assert "measuring speed" in result.stderr
    assert "7.00" in result.stdout
    assert asked == [True]
    (figure,) = json.loads((tmp_path / "bench.json").read_text())["figures"]
    assert (figure["name"], figure["value"], figure["met"]) == ("speed", 7.0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "flower"], "`make bench AGAINST=flower,pfl,lightly` measures peers"),
        (["--quick", "--growth", "g"], "`make bench GROWTH=FOLDER` how cost grows"),
        (["--json", "gone/bench.json"], "--json gone/bench.json: there is no such folder"),
    ],
)
def test_bench_refuses_before_it_measures(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "measure_all", None)
    result = fedssl("bench", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "--against" not in fedssl("bench", "--help").stdout
