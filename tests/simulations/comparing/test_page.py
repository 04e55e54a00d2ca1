"""The pages of comparisons and runs in a real browser, which has to be installed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from simulations.comparing import report
from tests.tools.command import fedssl
from tests.tools.fake_comparison import write_comparison
from tests.tools.tiny_comparison import TINY, write_tiny_examples

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)} is there"),
]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small comparison, with the pages of its runs."""
    folder = tmp_path_factory.mktemp("grid")
    write_tiny_examples(folder)
    (folder / "tiny.yaml").write_text(TINY)
    out = folder / "out"
    grid = ["--strategies", "fedavg,ldawa,uniform", "--seeds", "2"]
    grid += ["--vary", "partition.alpha=0.5,100", "--references", "central"]
    result = fedssl("compare", folder / "tiny.yaml", "rounds=1", *grid, "--out", out)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER)


class Tab:
    """An open page, what its console says, and what it asks for beside itself."""

    def __init__(self, browser: Browser, file: Path):
        self.complaints: list[str] = []
        self.fetched: list[str] = []
        self.page: Page = browser.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.fetched.append(request.url))
        self.page.goto(file.resolve().as_uri())
        self.fetched = [url for url in self.fetched[1:] if not url.startswith("data:")]

    def rows(self, table: int) -> list[list[list[str]]]:
        """Return what the cells of a table's rows show, group by group."""
        shown = self.page.locator("table").nth(table)
        groups: list[list[list[str]]] = shown.evaluate(
            "t => [...t.tBodies].map(b => [...b.rows].map(r => [...r.cells].map(c => c.innerText)))"
        )
        return groups

    def heading(self, text: str, table: int = 0) -> Locator:
        """Return the button of a column that starts with a text."""
        heads = self.page.locator("table").nth(table).locator("thead th")
        return heads.filter(has_text=text).first.locator("button")

    def order(self, text: str) -> str | None:
        """Return how the first table is sorted by a column."""
        return self.heading(text).locator("..").get_attribute("aria-sort")


def test_pages_open_without_a_complaint_and_fetch_nothing(compared: Path, browser: Browser) -> None:
    pages = [compared / "report.html", *(compared / "runs").rglob("report.html")]
    assert len(pages) == 1 + 3 * 2 * 2 + 2
    for file in (pages[0], pages[-1]):
        tab = Tab(browser, file)
        broken = tab.page.evaluate("[...document.images].filter(i => !i.naturalWidth).length")
        assert (broken, tab.complaints, tab.fetched) == (0, [], [])


def test_a_page_that_is_tampered_with_is_complained_of(
    compared: Path, browser: Browser, tmp_path: Path
) -> None:
    text = (compared / "report.html").read_text()
    file = tmp_path / "other.html"
    file.write_text(text.replace("<script>", "<script>document.title = 'changed';"))
    tab = Tab(browser, file)
    assert any("Content Security Policy" in said for said in tab.complaints)
    assert tab.page.title() != "changed"
    # Its tables are whole, and nothing looks like a button that does nothing.
    assert tab.page.locator("button").count() == 0
    assert len(tab.rows(0)) == 2
    file.write_text(text.replace('src="data:', 'src="https://example.org/'))
    tab = Tab(browser, file)
    assert any("Content Security Policy" in said for said in tab.complaints)


def test_a_click_on_a_heading_sorts_each_cells_rows(compared: Path, browser: Browser) -> None:
    tab = Tab(browser, compared / "report.html")
    before = tab.rows(0)
    assert [group[0] for group in before] == [["partition.alpha = 0.5"], ["partition.alpha = 100"]]

    tab.heading("accuracy").click()
    rising = tab.rows(0)
    for group, old in zip(rising, before, strict=True):
        assert group[0] == old[0]
        assert sorted(group) == sorted(old)
        figures = [float(row[1].split()[0]) for row in group[1:]]
        assert figures == sorted(figures)
    assert tab.order("accuracy") == "ascending"

    tab.heading("accuracy").click()
    for group in tab.rows(0):
        figures = [float(row[1].split()[0]) for row in group[1:]]
        assert figures == sorted(figures, reverse=True)
    assert tab.order("accuracy") == "descending"

    tab.heading("strategy").click()
    for group in tab.rows(0):
        names = [row[0] for row in group[1:]]
        assert names == sorted(names)
    assert tab.page.locator("th[aria-sort]").count() == 1
    assert tab.complaints == []


def test_headings_sort_by_the_keyboard_and_what_is_missing_stays_last(
    compared: Path, browser: Browser
) -> None:
    tab = Tab(browser, compared / "report.html")
    for order in ("ascending", "descending"):
        tab.heading("difference").focus()
        tab.page.keyboard.press("Enter")
        assert tab.order("difference") == order
        for group in tab.rows(0):
            shown = [row[3] for row in group[1:]]
            assert shown[-1] == "–"  # the baseline's
            signed = [float(figure) for figure in shown[:-1]]
            assert signed == sorted(signed, reverse=order == "descending")
    assert tab.page.locator("table").nth(1).locator("th[aria-sort]").count() == 0


def test_bytes_sort_by_how_many_they_are(browser: Browser, tmp_path: Path) -> None:
    sent = {"a": 775_000, "b": 225_000, "c": 5_000_000_000}
    write_comparison(tmp_path / "made", "abc", sent=lambda run: sent[run.strategy])
    tab = Tab(browser, report(tmp_path / "made"))
    tab.heading("up", 1).click()
    (group,) = tab.rows(1)
    assert [row[1] for row in group] == ["–", "900 kB", "3.1 MB", "20 GB"]  # untrained sends none
