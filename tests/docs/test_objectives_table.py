"""The table of docs/objectives.md: its counts, its arithmetic, and a tiny run of its own."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from fedssl.objectives import OBJECTIVES

DOCS = Path(__file__).parents[2] / "docs"
TINY = ["data.limit={train: 80, test: 30}", "client.batch_size=8", "rounds=1"]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DOCS))
    made = importlib.import_module("objectives_table")
    monkeypatch.setattr(made, "SEEDS", (0, 1))
    return made


@pytest.mark.slow
def test_passes_are_counted_at_every_encoder(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "TURNS", 1)
    expected = {"simclr": 2, "moco": 2, "byol": 4, "mixed-barlow": 3, "cacr": 5, "mae": 1}
    measured = script.measure(list(expected), [*TINY, "client.batch_size=4"])
    assert {name: cost.passes for name, cost in measured.items()} == expected
    assert all(cost.milliseconds > 0 for cost in measured.values())
    steps = {name: cost.steps for name, cost in measured.items()}
    assert steps == {"simclr": 20, "moco": 20, "byol": 10, "mixed-barlow": 13, "cacr": 8, "mae": 40}


def test_every_objective_can_be_configured(script: Any) -> None:
    for name in OBJECTIVES:
        experiment = script.configured(name, [])
        assert experiment.objective.name == name
        assert experiment.client.batch_size == 32


def write(folder: Path, script: Any, objective: str, ends: list[tuple[float, float]]) -> None:
    """Write what the table reads of an objective's runs."""
    config = script.configured(objective, []).model_dump_json()
    for seed, (before, after) in enumerate(ends):
        run = folder / "glyphs" / objective / f"seed-{seed}"
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(config)
        empty = {"cohort": [], "failed": [], "bytes_up": 0, "bytes_down": 0, "seconds": 0.1}
        rows = [
            {"round": number, **empty, "linear_accuracy": accuracy}
            for number, accuracy in enumerate((before, after))
        ]
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_gains_are_paired_by_seed(script: Any, tmp_path: Path) -> None:
    write(tmp_path, script, "simclr", [(0.30, 0.40), (0.20, 0.32)])
    write(tmp_path, script, "byol", [(0.30, 0.29), (0.20, 0.18)])
    measured = {"simclr": script.Cost(2.0, 99.7), "byol": script.Cost(4.0, 200.2)}
    # t(0.975, 1) = 12.7062: 12.7062 · s/√2 of 40 and 32 is 50.8, of 10 and 12 is 12.7.
    assert script.table(tmp_path, measured, ["glyphs"]).splitlines() == [
        "| objective | passes | steps | glyphs, % | gain | ms a step |",
        "|---|---|---|---|---|---|",
        "| untrained `convnet` | | | 25.0 ± 63.5 |  | |",
        "| `simclr` | 2 | 320 | 36.0 ± 50.8 | +11.0 ± 12.7 | 100 |",
        "| `byol` | 4 | 160 | 23.5 ± 69.9 | −1.5 ± 6.4 | 200 |",
    ]


def test_a_run_is_made_once_and_never_with_another_config(script: Any, tmp_path: Path) -> None:
    experiment = script.configured("simclr", [*TINY, "client.local_steps=1"])
    folder = tmp_path / "run"
    said = script.finish(experiment, folder)
    written = (folder / "summary.json").stat().st_mtime_ns
    assert script.finish(experiment, folder) == said
    assert (folder / "summary.json").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match=r"client\.local_steps was 1, is now 2"):
        script.finish(script.configured("simclr", [*TINY, "client.local_steps=2"]), folder)


def test_the_table_is_written_between_its_marks(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "runs", script, "simclr", [(0.30, 0.40), (0.20, 0.32)])
    (tmp_path / "runs" / "costs.json").write_text(
        json.dumps({"simclr": {"passes": 2.0, "milliseconds": 1.0}})
    )
    asked: list[Any] = []
    monkeypatch.setattr(script, "carry_out", lambda *given: asked.append(given))
    monkeypatch.setattr(script, "SETS", {"glyphs": []})
    page = tmp_path / "page.md"
    begin, end = script.MARKS
    page.write_text(f"Before.\n{begin}old\n{end}After.\n")
    for _ in range(2):
        script.main([str(tmp_path / "runs"), str(page), "--jobs", "1"])
        text = page.read_text()
        assert text.startswith(f"Before.\n{begin}| objective |")
        assert text.endswith(f"36.0 ± 50.8 | +11.0 ± 12.7 | 1 |\n{end}After.\n")
    assert asked[0] == (tmp_path / "runs", {"simclr": 20}, {"glyphs": []}, 1)


def test_each_row_of_the_documentation_is_of_an_objective(script: Any) -> None:
    begin, end = script.MARKS
    text = (DOCS / "objectives.md").read_text(encoding="utf-8")
    made = text.partition(begin)[2].partition(end)[0]
    rows = [line.split("`")[1] for line in made.splitlines() if line.startswith("| `")]
    # What was measured: a new objective is there once the runs were made again.
    assert rows == [name for name in OBJECTIVES if name in rows]
    assert "simclr" in rows
