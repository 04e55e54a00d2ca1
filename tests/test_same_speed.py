"""The script that compares the CPU time of two checkouts: its arithmetic, and what it measures."""

import math
from pathlib import Path

import pytest
from rich.console import Console

from tests.same_speed import Pair, is_slower, main, ratio, show
from tests.tools.checkouts import Resident

ROOT = Path(__file__).parents[1]


def pairs(*ratios: float) -> list[Pair]:
    return [
        Pair(before, before * r) for before, r in zip((1.0, 5.0, 2.0, 0.5), ratios, strict=True)
    ]


def test_the_ratio_is_the_geometric_mean_with_a_t_interval() -> None:
    found = ratio(pairs(2.0, 0.5, 2.0, 0.5))
    assert found.mean == pytest.approx(1)
    # The logarithms have s = 2·ln 2/√3, and t(0.975, 3) = 3.182.
    half = 3.18245 * 2 * math.log(2) / math.sqrt(3) / 2
    assert found.low == pytest.approx(math.exp(-half), rel=1e-4)
    assert found.high == pytest.approx(math.exp(half), rel=1e-4)


@pytest.mark.parametrize(
    ("ratios", "slower"),
    [
        ((1.10, 1.11, 1.09, 1.10), True),
        # Sure, but too little to matter; and much, but unsure.
        ((1.010, 1.011, 1.009, 1.010), False),
        ((1.5, 0.9, 1.4, 0.8), False),
        ((0.90, 0.91, 0.89, 0.90), False),
    ],
)
def test_slower_is_what_lies_above_noise_for_sure(
    ratios: tuple[float, ...], slower: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    found = pairs(*ratios)
    assert is_slower(ratio(found)) == slower
    show({"work": found}, Console(width=200))
    assert ("SLOWER" in capsys.readouterr().out) == slower


@pytest.mark.slow
def test_every_piece_of_work_can_be_measured_with_this_checkout(tmp_path: Path) -> None:
    with Resident(ROOT, "speed.py", tmp_path / "log") as process:
        names = process.ask({"what": "names"})
        assert len(set(names)) == len(names)
        for name in names:
            assert 0 < process.ask({"what": "measure", "name": name}) < 1000, name


@pytest.mark.slow
def test_work_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ROOT), str(ROOT), "--only", "nothing"]) == 1
    assert "--only nothing: no work has a name that begins so" in capsys.readouterr().err
