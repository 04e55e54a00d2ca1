import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from matplotlib.figure import Figure

from simulations.reports import plots
from simulations.reports.run_report import report
from tests.tools.pages import Page

CONFIG = {
    "seed": 7,
    "rounds": 2,
    "partition": {"name": "dirichlet", "clients": 3},
    "model": {"encoder": "convnet"},
    "objective": {"name": "simclr"},
    "strategy": {"name": "ldawa"},
}


def row(number: int, linear: float | None = None, **more: Any) -> dict[str, Any]:
    made = {
        "round": number,
        "cohort": [0, 2] if number else [],
        "failed": [2] if number == 2 else [],
        "train_loss": 4.5 if number else None,
        "bytes_up": 1_500_000 * number,
        "bytes_down": 1_000_000 * number,
        "seconds": 30.0,
    }
    return {**made, **({} if linear is None else {"linear_accuracy": linear}), **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "a <b> run")


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_folder(tmp_path_factory.mktemp("runs") / "a <b> run")
    report(made)
    return made


def make_folder(made: Path) -> Path:
    made.mkdir()
    (made / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    (made / "partition.csv").write_text(
        "client,class,examples\n0,cat,5\n0,10,1\n1,9,4\n2,unlabelled,2000\n", encoding="utf-8"
    )
    (made / "divergence.csv").write_text(
        "round,client,tensor,divergence\n1,0,conv,0.9\n1,0,bn,0.5\n1,2,conv,0.7\n1,2,bn,0.7\n",
        encoding="utf-8",
    )
    write_rows(made, [row(0, 0.25, knn_accuracy=0.2), row(1, 0.75), row(2, 0.5, knn_accuracy=0.3)])
    return made


def write_rows(folder: Path, rows: Sequence[dict[str, Any]], tail: str = "") -> None:
    text = "".join(json.dumps(r) + "\n" for r in rows)
    (folder / "metrics.jsonl").write_text(text + tail, encoding="utf-8")


def test_the_headline_is_the_last_round_never_the_best(reported: Path) -> None:
    tiles = Page(reported / "report.html").tiles
    assert tiles["Linear accuracy"] == ("50.0 %", "after round 2")
    assert tiles["Gain in linear accuracy"] == ("+25.0", "points, from 25.0 % in round 0")
    assert tiles["kNN accuracy"] == ("30.0 %", "after round 2")
    assert tiles["Rounds"] == ("2", "4 client updates, 1 failed")
    assert tiles["Clients"] == ("3", "2,010 examples")
    assert tiles["Traffic"] == ("7.5 MB", "4.5 MB up, 3 MB down")
    assert tiles["Time"] == ("1 min 30 s", "training and evaluation")


@pytest.mark.parametrize("column", ["examples", "images"])
def test_numbers_without_a_client_are_no_clients(
    folder: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    """Also as older versions of fedssl wrote the table, with a column `images`."""
    drawn: list[tuple[Any, ...]] = []
    draw = plots.partition

    def note(*given: Any) -> Figure:
        drawn.append(given)
        return draw(*given)

    monkeypatch.setattr(plots, "partition", note)
    (folder / "partition.csv").write_text(
        f"client,class,{column}\n2,unlabelled,5\n40,unlabelled,7\n900,unlabelled,9\n"
    )
    assert Page(report(folder)).tiles["Clients"] == ("3", "21 examples")
    ((counts, _, names, noun),) = drawn
    assert noun == "examples"
    assert list(counts) == [(0, 0, 5), (1, 0, 7), (2, 0, 9)]
    assert names == ["2", "40", "900"]


def test_the_table_has_a_row_a_round(reported: Path) -> None:
    parts = Page(reported / "report.html").parts
    headings = ["Round", "Clients", "Failed", "Training loss", "Linear", "kNN"]
    assert parts["th"] == [*headings, "Up", "Down", "Time"]
    assert parts["td"][:9] == ["0", "0", "–", "–", "25.0 %", "20.0 %", "0 B", "0 B", "30.0 s"]
    assert parts["td"][18:] == ["2", "2", "1", "4.5", "50.0 %", "30.0 %", "3 MB", "2 MB", "30.0 s"]


def test_the_page_is_whole_by_itself_and_escapes_what_it_shows(reported: Path) -> None:
    page = Page(reported / "report.html")
    assert not re.search(r"https?://|<script|<link|url\(", page.text)
    assert "default-src 'none'" in page.text
    assert page.parts["h1"] == ["a <b> run"]
    assert yaml.safe_load(page.parts["pre"][0]) == CONFIG
    names = ("progress", "partition", "divergence")
    written = [(reported / "plots" / f"{name}.png").read_bytes() for name in names]
    inline = [base64.b64decode(src.split(",")[1], validate=True) for src in page.examples.values()]
    assert inline == written
    assert all(example.startswith(b"\x89PNG") for example in written)
    assert not list(reported.rglob("*.writing"))


def test_the_last_half_written_line_is_ignored_and_the_rest_told_as_unfinished(
    folder: Path,
) -> None:
    write_rows(folder, [row(0, 0.25), row(1, 0.3)], tail='{"round": 2, "coh')
    with (folder / "divergence.csv").open("a", encoding="utf-8") as file:
        file.write("2,0,co")
    page = Page(report(folder))
    assert page.tiles["Linear accuracy"] == ("30.0 %", "after round 1")
    assert "1 of 2 rounds are done: the figures are those so far." in page.parts["p"]


def test_a_run_with_no_round_done(folder: Path) -> None:
    write_rows(folder, [row(0, 0.25)])
    (folder / "divergence.csv").write_text("round,client,tensor,divergence\n", encoding="utf-8")
    page = Page(report(folder))
    assert page.tiles["Linear accuracy"] == ("25.0 %", "after round 0")
    assert "Gain in linear accuracy" not in page.tiles
    assert list(page.examples) == ["Progress", "Who has which examples"]


def test_a_run_that_was_never_evaluated_has_no_accuracy_to_show(folder: Path) -> None:
    write_rows(folder, [row(0), row(1)])
    assert next(iter(Page(report(folder)).tiles)) == "Rounds"


def test_a_finished_run_shows_its_summary_and_no_note(folder: Path) -> None:
    (folder / "summary.json").write_text('{"device": "cpu"}', encoding="utf-8")
    page = Page(report(folder))
    assert json.loads(page.parts["pre"][1]) == {"device": "cpu"}
    assert "rounds are done" not in page.text


def test_a_report_written_again_is_the_same(folder: Path, reported: Path) -> None:
    (folder / "report.html").write_text("an older one", encoding="utf-8")
    assert report(folder).read_bytes() == (reported / "report.html").read_bytes()


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl"])
def test_what_is_no_run_folder_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"run is no run folder.*{name}"):
        report(folder)


@pytest.mark.parametrize("name", ["partition.csv", "divergence.csv"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        report(folder)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.jsonl", "", "metrics.jsonl has no row yet"),
        ("metrics.jsonl", '{"round": 0\n', "metrics.jsonl, line 1: is not valid JSON"),
        ("metrics.jsonl", '{"round": 0}\n', "line 1, is no row of metrics.*cohort"),
        ("metrics.jsonl", "[]\n", "line 1, is no row"),
        ("config.yaml", "a: [", "config.yaml: not valid YAML: line 1"),
        ("config.yaml", "", "config.yaml: cannot be read: it holds no config"),
        ("summary.json", "{", r"summary.json: is not valid JSON.*; remove it, and --resume writes"),
        ("partition.csv", "client,class,examples\n0,cat\n", "partition.csv, line 2,"),
        ("partition.csv", "client,examples\n0,3\n", "partition.csv, line 1,"),
        ("divergence.csv", "round,client,tensor,divergence\n0,0,w,1\n", "divergence.csv, line 2,"),
        ("divergence.csv", "round,client,tensor,divergence\n1,0,w,x\n", "divergence.csv, line 2,"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    folder: Path, name: str, text: str, message: str
) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        report(folder)
    assert not (folder / "report.html").exists()
