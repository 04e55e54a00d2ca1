"""The pages of comparisons and runs in a real browser, which has to be installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulations.comparing import report
from tests.browser import NAMES, Tab, find_browser, new_tab
from tests.simulations.comparing.made import make
from tests.simulations.comparing.test_compare import CONFIG, fedssl, write_examples

BROWSER = find_browser()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)} is there"),
]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small comparison, with the pages of its runs."""
    folder = tmp_path_factory.mktemp("grid")
    write_examples(folder)
    (folder / "tiny.yaml").write_text(CONFIG)
    out = folder / "out"
    grid = ["--strategies", "fedavg,ldawa,uniform", "--seeds", "2"]
    grid += ["--vary", "partition.alpha=0.5,100", "--references", "central"]
    result = fedssl("compare", folder / "tiny.yaml", "rounds=1", *grid, "--out", out)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    assert BROWSER
    with new_tab(BROWSER, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def table(tab: Tab, place: int) -> list[list[list[str]]]:
    """Return what the cells of a table's rows show, group by group."""
    groups: list[list[list[str]]] = tab.evaluate(
        f"[...document.querySelectorAll('table')[{place}].tBodies].map(b => [...b.rows].map("
        "r => [...r.cells].map(c => c.innerText)))"
    )
    return groups


def heading(text: str, table: int = 0) -> str:
    return (
        f"[...document.querySelectorAll('table')[{table}].tHead.rows[0].cells]"
        f".find(h => h.innerText.startsWith('{text}'))"
    )


def test_pages_open_without_a_complaint_and_fetch_nothing(compared: Path, tab: Tab) -> None:
    pages = [compared / "report.html", *(compared / "runs").rglob("report.html")]
    assert len(pages) == 1 + 3 * 2 * 2 + 2
    for page in (pages[0], pages[-1]):
        tab.open(page)
        broken = "[...document.images].filter(i => !i.naturalWidth).length"
        assert (tab.evaluate(broken), tab.complaints, tab.fetched) == (0, [], [])


def test_a_page_that_is_tampered_with_is_complained_of(
    compared: Path, tab: Tab, tmp_path: Path
) -> None:
    text = (compared / "report.html").read_text()
    page = tmp_path / "other.html"
    page.write_text(text.replace("<script>", "<script>document.title = 'changed';"))
    tab.open(page)
    assert any("Content Security Policy" in said for said in tab.complaints)
    assert tab.evaluate("document.title") != "changed"
    # Its tables are whole, and nothing looks like a button that does nothing.
    assert tab.evaluate("document.querySelectorAll('button').length") == 0
    assert len(table(tab, 0)) == 2
    page.write_text(text.replace('src="data:', 'src="https://example.org/'))
    tab.open(page)
    assert any("Content Security Policy" in said for said in tab.complaints)


def test_a_click_on_a_heading_sorts_each_cells_rows(compared: Path, tab: Tab) -> None:
    tab.open(compared / "report.html")
    before = table(tab, 0)
    assert [group[0] for group in before] == [["partition.alpha = 0.5"], ["partition.alpha = 100"]]

    tab.click(f"{heading('accuracy')}.querySelector('button')")
    rising = table(tab, 0)
    for group, old in zip(rising, before, strict=True):
        assert group[0] == old[0]
        assert sorted(group) == sorted(old)
        figures = [float(row[1].split()[0]) for row in group[1:]]
        assert figures == sorted(figures)
    assert tab.evaluate(f"{heading('accuracy')}.getAttribute('aria-sort')") == "ascending"

    tab.click(f"{heading('accuracy')}.querySelector('button')")
    for group in table(tab, 0):
        figures = [float(row[1].split()[0]) for row in group[1:]]
        assert figures == sorted(figures, reverse=True)
    assert tab.evaluate(f"{heading('accuracy')}.getAttribute('aria-sort')") == "descending"

    tab.click(f"{heading('strategy')}.querySelector('button')")
    for group in table(tab, 0):
        names = [row[0] for row in group[1:]]
        assert names == sorted(names)
    assert tab.evaluate("document.querySelectorAll('th[aria-sort]').length") == 1
    assert tab.complaints == []


def test_headings_sort_by_the_keyboard_and_what_is_missing_stays_last(
    compared: Path, tab: Tab
) -> None:
    tab.open(compared / "report.html")
    for order in ("ascending", "descending"):
        tab.evaluate(f"{heading('difference')}.querySelector('button').focus()")
        tab.press_enter()
        assert tab.evaluate(f"{heading('difference')}.getAttribute('aria-sort')") == order
        for group in table(tab, 0):
            shown = [row[3] for row in group[1:]]
            assert shown[-1] == "–"  # the baseline's
            signed = [float(figure) for figure in shown[:-1]]
            assert signed == sorted(signed, reverse=order == "descending")
    others = "[...document.querySelectorAll('table')[1].querySelectorAll('th[aria-sort]')].length"
    assert tab.evaluate(others) == 0


def test_bytes_sort_by_how_many_they_are(tab: Tab, tmp_path: Path) -> None:
    sent = {"a": 775_000, "b": 225_000, "c": 5_000_000_000}
    make(tmp_path / "made", "abc", sent=lambda run: sent[run.strategy])
    tab.open(report(tmp_path / "made"))
    tab.click(f"{heading('up', 1)}.querySelector('button')")
    (group,) = table(tab, 1)
    assert [row[1] for row in group] == ["–", "900 kB", "3.1 MB", "20 GB"]  # untrained sends none
