"""The report of comparisons that were made up."""

import base64
import hashlib
import re
from pathlib import Path

from simulations.comparing import report
from simulations.comparing.plan import PlannedRun
from tests.tools.fake_comparison import write_comparison
from tests.tools.pages import Page

CELLS = {"partition.alpha": ("0.1", "100")}


def test_runs_that_tell_no_delta_have_a_report_without_its_pictures(tmp_path: Path) -> None:
    write_comparison(tmp_path, vary=CELLS)
    for path in tmp_path.rglob("divergence.csv"):
        path.unlink()
    page = Page(report(tmp_path))
    headings = ["Difference to the baseline", "Final accuracy", "Ranking from cell to cell"]
    assert list(page.examples) == [*headings, "Accuracy by round", "Accuracy against bytes"]
    assert not (tmp_path / "plots" / "by-layer.png").exists()


def test_one_strategy_is_reported_without_a_ranking(tmp_path: Path) -> None:
    write_comparison(tmp_path, "a", CELLS, seeds=1)
    examples = Page(report(tmp_path)).examples
    assert "Ranking from cell to cell" not in examples
    assert "δ by layer and round" in examples


def test_a_comparison_that_goes_on_has_pictures_of_what_there_is(tmp_path: Path) -> None:
    def done(run: PlannedRun) -> bool:
        return (run.strategy, run.values["partition.alpha"], run.seed) == ("ldawa", "100", 1)

    write_comparison(tmp_path, ("fedavg", "ldawa"), CELLS, done=done)
    page = Page(report(tmp_path))
    assert "1 of 8 runs are done." in page.parts["p"]
    assert "Who has which examples, and how far that turns the weights" in page.examples


def test_a_picture_that_is_no_longer_drawn_does_not_stay(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    report(tmp_path)
    for path in tmp_path.rglob("divergence.csv"):
        path.unlink()
    report(tmp_path)
    assert not (tmp_path / "plots" / "by-layer.png").exists()


def test_only_the_pages_own_script_may_run(tmp_path: Path) -> None:
    write_comparison(tmp_path, ("<b>", "script"))
    text = report(tmp_path).read_text(encoding="utf-8")
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', text)
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe-inline" not in policy.replace("style-src 'unsafe-inline'", "")
    assert "<b>" not in text


def test_cells_carry_the_figures_that_they_are_sorted_by(tmp_path: Path) -> None:
    accuracies = {"a": 0.5, "b": 0.40004}
    write_comparison(tmp_path, "ab", accuracy=lambda run: accuracies[run.strategy])
    text = report(tmp_path).read_text(encoding="utf-8")
    assert '<td data-value="50.0">50.0</td>' in text
    assert re.search(r'<td data-value="40\.00\d*">40.0</td>', text)
    assert re.search(r'<td data-value="-9\.99\d*">-10.0</td>', text)
    assert '<td data-value="4000.0">4 kB</td>' in text
    assert '<td data-value="">–</td>' in text
    assert '<td data-value="baseline" class="text">baseline</td>' in text
