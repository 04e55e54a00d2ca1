"""The files that a comparison leaves for other tools."""

import csv
from pathlib import Path

from click.testing import Result

from tests.tools.command import fedssl
from tests.tools.comparisons import findings, rows


def test_the_csv_has_a_row_a_run_and_round(compared: tuple[Path, Result]) -> None:
    out, _ = compared
    with (out / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 2 * 2 * (3 * 4 + 1)  # cells, seeds, (rounds of 4, and the untrained one)
    row = next(r for r in table if r["strategy"] == "central" and r["round"] == "2")
    assert row["partition.alpha"] == "0.5"
    real = rows(out / "runs/central/seed-3")[2]
    assert float(row["linear_accuracy"]) == real["linear_accuracy"]


def test_the_csv_has_the_measures_that_the_config_asks_for(tiny: Path) -> None:
    command = ["compare", "tiny.yaml", "rounds=1", "evaluation.measures=[alignment]"]
    result = fedssl(*command, "--strategies", "fedavg", "--seeds", "1", "--out", tiny)
    assert result.exit_code == 0, result.output
    with (tiny / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    real = rows(tiny / "runs/fedavg/seed-3")
    figures = [name for name in real[1] if name in ("alignment", "uniformity")]
    assert len(figures) == 2
    for name in figures:
        fedavg = [row[name] for row in table if row["strategy"] == "fedavg"]
        assert [float(value) for value in fedavg] == [row[name] for row in real]


def test_tables_for_papers(compared: tuple[Path, Result]) -> None:
    out, _ = compared
    line = findings(out)["fedavg", "0.5"]
    figure = f"{line['accuracy']['mean']:.1f}"
    markdown = (out / "table.md").read_text()
    assert "### partition.alpha = 0.5\n\n| strategy | accuracy (%) |" in markdown
    assert f"| fedavg | {figure}" in markdown
    assert {text.count("|") for text in markdown.splitlines() if "|" in text} == {8}
    latex = (out / "table.tex").read_text()
    assert rf"fedavg & {figure}" in latex
    assert r"ldawa(warmup\_rounds=0) & " in latex
    assert "%" not in latex.replace(r"\%", "")
    rows = [text for text in latex.splitlines() if "&" in text]
    assert {text.count("&") for text in rows} == {6}
    assert len(rows) == 1 + 2 * 6
