import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from simulations.bench.timing import peak_mb
from tests.benchmarks import growth as module
from tests.benchmarks.costs import Cost
from tests.benchmarks.growth import growth
from tests.benchmarks.growth_picture import picture
from tests.benchmarks.sweeps import CLIENTS, PARAMETERS, SIDE, Sweep, words

SIDES = (32, 64, 96, 128, 224)
COSTS = [Cost(s, 0.002 * s**2, 50 + s**2 / 100, s**2 * (1 if s < 200 else 2) / 2e4) for s in SIDES]
BENT = Sweep(SIDE, COSTS)
FLAT = Sweep(CLIENTS, [Cost(n, 0.002 * n, 20.0) for n in (10, 100, 1000)])
TIMED = Sweep(PARAMETERS, [Cost(n * 1_000_000, float(n), None) for n in (1, 10, 100)])


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_words_tell_the_law_and_where_it_ends() -> None:
    assert words(FLAT, "time") == "0 CPU-s + 2 CPU-ms per client\nstraight up to 1,000"
    assert words(FLAT, "memory") == "20 MB + 0 MB per client\nstraight up to 1,000"
    assert words(TIMED, "time") == "0 CPU-ms + 1 CPU-ms per million\nstraight up to 100 M"
    assert words(TIMED, "memory") == ""
    assert words(BENT, "memory") == "50 MB + 10 MB per 1,000 pixels\nstraight up to 224"
    assert words(BENT, "views").endswith("\nbends at 224: 2.0 × the line")


def test_the_picture_shows_points_lines_and_rings_around_bends() -> None:
    figure = picture([FLAT, TIMED, BENT])
    rings = [[r for r in a.lines if r.get_markersize() == 12] for a in figure.axes]
    assert [len(r) for r in rings] == [0, 0, 1, 0, 0, 0]
    views = BENT.curve("views")
    assert np.asarray(rings[2][0].get_xydata()).tolist() == [list(views[-1])]
    assert np.asarray(figure.axes[0].lines[0].get_xydata()).tolist() == [
        list(point) for point in FLAT.curve("time")
    ]
    assert "not measured" in texts(figure)
    assert "views alone, 2–5 % of it" in texts(figure)
    for sweep in (FLAT, TIMED, BENT):
        for name in ("time", "memory", "views"):
            assert words(sweep, name) in texts(figure)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Replace the measuring by a law."""
    asked: list[tuple[str, Any]] = []

    def compute(work: Callable[..., Cost], size: Any) -> Cost:
        asked.append((work.__name__, size))
        return Cost(len(asked), float(len(asked)), 2.0 * len(asked))

    monkeypatch.setattr(module, "in_fresh_process", compute)
    return asked


def test_growth_measures_each_point_and_writes_all(
    tmp_path: Path, computed: list[tuple[str, Any]]
) -> None:
    told: list[tuple[str, int, int]] = []
    sweeps = growth(tmp_path / "new", on_start=lambda *what: told.append(what))
    assert [(s.quantity, len(s.points)) for s in sweeps] == [
        (CLIENTS, 7),
        (PARAMETERS, 5),
        (SIDE, 5),
    ]
    assert computed[:2] == [("of_clients", 10), ("of_clients", 30)]
    assert computed[11] == ("of_parameters", "tests.benchmarks.costs.wide_100m")
    assert computed[-1] == ("of_side", 224)
    assert told[0] == ("10 clients per round", 1, 17)
    assert told[-1] == ("images of 224×224", 17, 17)
    written = json.loads((tmp_path / "new" / "growth.json").read_text())
    assert written["sweeps"] == json.loads(json.dumps([s.to_json() for s in sweeps]))
    assert written["sweeps"][0]["lines"]["memory"]["slope"] == pytest.approx(2)
    with Image.open(tmp_path / "new" / "growth.png") as image:
        assert np.asarray(image).std() > 0


@pytest.mark.parametrize("odd", [64, 224])
def test_what_lies_off_the_line_is_measured_again(
    odd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def compute(work: Callable[..., Cost], size: Any) -> Cost:
        seen.append(size)
        busy = size == odd and seen.count(odd) == 1
        at = seen.index(size) + 1 if isinstance(size, str) else size
        time = at ** (2 if work.__name__ == "of_side" else 1)
        return Cost(at, time * (2.0 if busy else 1.0), 5.0)

    monkeypatch.setattr(module, "in_fresh_process", compute)
    told: list[tuple[str, int, int]] = []
    sweeps = growth(tmp_path, on_start=lambda *what: told.append(what))
    assert seen[17:] == [32, 64, 96, 128, 224]
    assert told[16:18] == [("images of 224×224", 17, 17), ("images of 32×32, again", 18, 22)]
    assert [point.time for point in sweeps[2].points] == [side**2 for side in SIDES]
    assert not any(sweep.strays() for sweep in sweeps)
    assert BENT.strays()


@pytest.mark.slow
def test_quick_growth_measures_for_real(tmp_path: Path) -> None:
    sweeps = growth(tmp_path, quick=True)
    assert [[point.at for point in s.points] for s in sweeps][::2] == [[2, 4], [8, 16]]
    for point in (point for sweep in sweeps for point in sweep.points):
        assert point.time > 0
        assert peak_mb() is None or (point.memory or 0) > 0
    # Models of 1 and 3 million parameters, several of them.
    first, second = sweeps[1].points
    assert first.at == pytest.approx(1e6, rel=0.1)
    assert second.at == pytest.approx(3e6, rel=0.1)
    assert (second.memory or 16) - (first.memory or 0) > 8
    assert {path.name for path in tmp_path.iterdir()} == {"growth.json", "growth.png"}
