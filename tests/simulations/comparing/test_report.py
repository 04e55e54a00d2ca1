"""The report of comparisons that were made up."""

import base64
import hashlib
import re
from pathlib import Path

from click.testing import Result

from simulations.comparing import Request, make_plan, report
from simulations.comparing.plan import PlanFile, PlannedRun
from tests.tools.command import fedssl
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


def test_the_page_needs_nothing_else_and_says_what_was_found(
    compared: tuple[Path, Result],
) -> None:
    out, result = compared
    page = (out / "report.html").read_text()
    assert not re.search(r"https?://|<script .*src|<link|url\(", page)
    parsed = Page(out / "report.html")  # which sees to it that what is opened is closed
    assert list(parsed.examples) == [
        "Difference to the baseline",
        "Final accuracy",
        "Ranking from cell to cell",
        "Accuracy by round",
        "Accuracy against bytes",
        "δ by layer and round",
        "Who has which examples, and how far that turns the weights",
    ]
    assert parsed.parts["th"][:2] == ["strategy", "accuracy (%)"]
    names = {"differences", "final", "ranks", "by-round", "by-bytes", "by-layer", "by-client"}
    assert {path.name for path in (out / "plots").iterdir()} == {f"{name}.png" for name in names}
    for name in names:
        assert (out / "plots" / f"{name}.png").read_bytes()[1:4] == b"PNG"
    assert "18 of 22 runs are done." in page
    assert "With 2 seeds the smallest p that sign flips can reach is 0.5" in page
    assert "ldawa(warmup_rounds=0) against fedavg at partition.alpha = 0.5" in page
    last = result.output.rstrip().splitlines()[-1]
    assert last == "report: runs/tiny-compared/report.html"


def test_a_comparison_without_any_run_has_a_report(tiny: Path) -> None:
    request = Request(Path("tiny.yaml"), "fedavg,ldawa", seeds=2, references="local-only")
    PlanFile(tiny).declare(make_plan(request))
    result = fedssl("report", tiny)
    assert result.exit_code == 0, result.output
    assert "0 of 8 runs are done." in (tiny / "report.html").read_text()
    assert "incomplete, so not tested: it lacks 2" in result.output


def test_report_writes_it_again_and_prints_the_table(compared: tuple[Path, Result]) -> None:
    out, _ = compared
    before = {
        name: (out / name).read_bytes() for name in ("summary.json", "results.csv", "report.html")
    }
    for name in before:
        (out / name).unlink()
    result = fedssl("report", out)
    assert result.exit_code == 0, result.output
    assert "ldawa(warmup_rounds=0)" in result.output
    assert {name: (out / name).read_bytes() for name in before} == before
