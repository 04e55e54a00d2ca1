from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from fedssl.evaluation import MetricDescription
from fedssl.evaluation.metrics import METRICS
from simulations.comparing.findings import findings
from simulations.comparing.plan import PlannedRun
from simulations.comparing.ranking import ranks
from simulations.comparing.results import Results
from tests.tools.fake_comparison import write_comparison
from tests.tools.figures import save_figure

CELLS = {"partition.alpha": ("0.1", "100")}
ACCURACIES = {
    ("a", "0.1"): (0.50, 0.50),
    ("b", "0.1"): (0.40, 0.62),
    ("c", "0.1"): (0.45, 0.45),
    ("a", "100"): (0.50, 0.50),
    ("b", "100"): (0.50, 0.50),
    ("c", "100"): (0.60, 0.40),
}


def accuracy(run: PlannedRun) -> float:
    return ACCURACIES[run.strategy, run.values["partition.alpha"]][run.seed]


def drawn(made: Results) -> Figure | None:
    return ranks(made, findings(made))


def test_ranks_are_of_the_means_and_whiskers_of_seeds_drawn_anew(tmp_path: Path) -> None:
    figure = drawn(write_comparison(tmp_path / "made", "abc", CELLS, accuracy=accuracy))
    assert figure
    axes, ends = figure.axes
    found = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    assert found == [[2, 2], [1, 2], [3, 2]]  # at 100 all means are equal
    whiskers = [
        [sorted(y for _, y in segment) for segment in lines.get_segments()]  # type: ignore[attr-defined]
        for lines in axes.collections
    ]
    # Of two seeds, either alone is drawn in a quarter of the draws.
    assert whiskers == [[[1, 2], [1.5, 2.5]], [[1, 3], [1.5, 2.5]], [[2, 3], [1, 3]]]
    assert axes.get_ylim() == ends.get_ylim() == (3.5, 0.5)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "100"]
    assert axes.get_xlabel() == "partition.alpha"
    assert [label.get_text() for label in ends.get_yticklabels()] == ["a\nb\nc"]
    save_figure(figure, tmp_path / "x.png")


def test_cells_keep_the_order_of_the_plan_and_name_every_field(tmp_path: Path) -> None:
    vary = {"partition.alpha": ("100", "0.1"), "objective.name": ("simclr", "byol")}
    figure = drawn(write_comparison(tmp_path / "made", "ab", vary, accuracy=lambda run: 0.5))
    assert figure
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert names == ["100\nsimclr", "100\nbyol", "0.1\nsimclr", "0.1\nbyol"]


def test_a_strategy_that_lacks_runs_is_not_ranked(tmp_path: Path) -> None:
    made = write_comparison(
        tmp_path / "made",
        "abc",
        CELLS,
        accuracy=accuracy,
        done=lambda run: (run.strategy, run.seed) != ("a", 1),
    )
    figure = drawn(made)
    assert figure
    found = [np.asarray(line.get_ydata()).tolist() for line in figure.axes[0].lines]
    assert found == [[1, 1.5], [2, 1.5]]


@pytest.mark.parametrize(
    ("strategies", "vary"), [("a", CELLS), ("ab", {}), ("ab", {"partition.alpha": ("0.1",)})]
)
def test_one_strategy_or_one_cell_has_no_ranking(
    tmp_path: Path, strategies: str, vary: dict[str, tuple[str, ...]]
) -> None:
    assert drawn(write_comparison(tmp_path / "made", strategies, vary)) is None


def test_a_rank_that_is_settled_has_no_whisker(tmp_path: Path) -> None:
    made = write_comparison(
        tmp_path / "made", "ab", CELLS, accuracy=lambda r: ord(r.strategy) / 128
    )
    figure = drawn(made)
    assert figure
    for line, lines in zip(figure.axes[0].lines, figure.axes[0].collections, strict=True):
        rank = float(np.asarray(line.get_ydata())[0])
        for segment in lines.get_segments():  # type: ignore[attr-defined]
            assert [y for _, y in segment] == [rank, rank]


def test_where_lower_is_better_the_lowest_is_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write_comparison(tmp_path / "made", "abc", CELLS, accuracy=accuracy)
    monkeypatch.setitem(METRICS, "linear_accuracy", MetricDescription(unit="share", better="lower"))
    figure = drawn(made)
    assert figure
    found = [np.asarray(line.get_ydata()).tolist() for line in figure.axes[0].lines]
    assert found == [[2, 2], [3, 2], [1, 2]]
