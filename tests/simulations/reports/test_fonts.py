"""Names in any script are drawn where a font has them, and else numbered."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager
from matplotlib.text import Text

from fedssl.evaluation.subject import MeasureResult
from fedssl.partitions import Counts
from simulations.probing import plots as probe_plots
from simulations.reports import fonts, plots

NAMES = ["dog", "猫", "қуён", "[b]\x1b[31m\u202e", "$x$", "_y", "🐈", "z" * 200]


@pytest.fixture(autouse=True)
def only_matplotlib_s_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take only the fonts that matplotlib brings, whatever the machine has."""
    own = [entry for entry in fontManager.ttflist if "mpl-data" in entry.fname]
    monkeypatch.setattr(fontManager, "ttflist", own)
    fonts._fonts.cache_clear()
    fonts._family.cache_clear()
    yield
    fonts._fonts.cache_clear()
    fonts._family.cache_clear()


def test_names_are_drawn_or_numbered() -> None:
    assert fonts.class_labels(NAMES) == [
        "dog",
        "class 1",
        "қуён",
        r"[b]\x1b[31m\u202e",
        r"\$x\$",
        " _y",
        "class 6",
        "z" * 22 + "… (200 characters)",
    ]
    assert fonts.numbered(NAMES) == {1: "猫", 6: "🐈"}
    assert fonts.number_legend(NAMES) == "In the pictures class 1: 猫, class 6: 🐈."
    assert fonts.number_legend(["dog"]) == ""


def test_pictures_of_any_names_are_written_without_a_warning(tmp_path: Path) -> None:
    counts = Counts((4, 8), np.repeat(np.arange(4), 8), np.tile(np.arange(8), 4), np.full(32, 5))
    figures = [plots.partition(counts, NAMES)]
    details = {
        "classes": NAMES,
        "class_accuracy": [0.5] * 8,
        "class_examples": [4] * 8,
        "labels": list(range(8)),
        "clients": [-1] * 8,
        "places": [[n, n] for n in range(8)],
    }
    measured = MeasureResult({"worst_class_accuracy": 0.5, "class_gap": 0.0}, details)
    figures += [probe_plots.harm(measured), probe_plots.scatter(measured)]
    odd = Figure()
    odd.text(0.5, 0.5, "猫 and \x1b and 🐈")
    for number, figure in enumerate([*figures, odd]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plots.save(figure, tmp_path / f"{number}.png")
    assert [text.get_text() for text in odd.findobj(Text)] == ["? and ? and ?"]


def test_another_font_is_taken_where_it_has_what_the_usual_one_lacks(tmp_path: Path) -> None:
    files = {entry.name: entry.fname for entry in fontManager.ttflist if entry.style == "normal"}
    lacking = fonts._characters(files["STIXGeneral"]) - fonts._characters(files[fonts.USUAL])
    character = next(chr(code) for code in sorted(lacking) if chr(code).isalpha())
    assert fonts.class_labels([f"a{character}"]) == [f"a{character}"]
    figure = Figure()
    text = figure.text(0.5, 0.5, f"a{character}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.save(figure, tmp_path / "other.png")
    assert text.get_text() == f"a{character}"
    assert text.get_fontfamily() == [fonts.USUAL, "STIXGeneral"]


def test_a_font_that_cannot_be_read_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    broken = FontEntry(
        fname=str(tmp_path / "broken.ttf"), name="A Broken One", style="normal", weight=400
    )
    monkeypatch.setattr(fontManager, "ttflist", [broken, *fontManager.ttflist])
    assert fonts.class_labels(["猫"]) == ["class 0"]
