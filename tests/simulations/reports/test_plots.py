from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from fedssl.partitions import Counts
from simulations.reports import plots
from tests.tools.figures import save_figure


def rows(*accuracies: float | None) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for number, accuracy in enumerate(accuracies):
        row: dict[str, Any] = {"round": number, "train_loss": 5.0 - number if number else None}
        if accuracy is not None:
            row |= {"linear_accuracy": accuracy, "knn_accuracy": accuracy / 2}
        made.append(row)
    return made


def cells(table: np.ndarray) -> Counts:
    client, label = table.nonzero()
    return Counts(table.shape, client, label, table[client, label])


def texts(figure: Figure) -> list[str]:
    legend = [text.get_text() for box in figure.legends for text in box.get_texts()]
    return legend + [text.get_text() for axes in figure.axes for text in axes.texts]


def test_progress_draws_what_was_measured(tmp_path: Path) -> None:
    figure = plots.progress(rows(0.25, None, 0.5))
    accuracy, loss = figure.axes
    linear, knn = accuracy.lines
    assert np.asarray(linear.get_xydata()).tolist() == [[0, 25], [2, 50]]
    assert np.asarray(knn.get_xydata()).tolist() == [[0, 12.5], [2, 25]]
    assert np.asarray(loss.lines[0].get_xydata()).tolist() == [[1, 4], [2, 3]]
    assert linear.get_linestyle() != knn.get_linestyle()
    assert texts(figure) == ["linear probe: 50.0 %", "kNN: 25.0 %"]
    assert "%" in accuracy.get_ylabel()
    assert accuracy.get_xlabel() == loss.get_xlabel() == "round"
    save_figure(figure, tmp_path / "progress.png")


def test_progress_of_a_run_that_has_not_trained_or_not_measured(tmp_path: Path) -> None:
    untrained = plots.progress(rows(0.25))
    assert "no round was trained yet" in texts(untrained)
    unmeasured = plots.progress(rows(None, None))
    assert "not evaluated yet" in texts(unmeasured)
    for figure in (untrained, unmeasured):
        save_figure(figure, tmp_path / "progress.png")


def test_a_loss_that_is_not_a_number_can_be_draw(tmp_path: Path) -> None:
    save_figure(plots.progress([{"round": 1, "train_loss": float("nan")}]), tmp_path / "nan.png")


def test_a_loss_that_no_float_of_a_model_reaches_is_left_out(tmp_path: Path) -> None:
    rows = [{"round": i, "train_loss": (-1) ** i * 1.7e308 if i else 1.0} for i in range(4)]
    figure = plots.progress(rows)
    plots.save(figure, tmp_path / "progress.png")
    drawn = np.asarray(figure.axes[1].lines[0].get_ydata(), float)
    assert drawn[0] == 1
    assert np.isnan(drawn[1:]).all()


@pytest.mark.parametrize(("clients", "classes"), [(1, 1), (40, 20), (3, 2)])
def test_few_clients_are_bars_stacked_to_their_sizes(
    clients: int, classes: int, tmp_path: Path
) -> None:
    counts = np.random.default_rng(0).integers(0, 50, (clients, classes))
    names = ["_hidden", "$x", "unlabelled", *map(str, range(classes))][:classes]
    figure = plots.partition(cells(counts), names)
    (axes,) = figure.axes
    assert len(axes.patches) == clients * classes
    tops = np.zeros(clients)
    for c, container in enumerate(axes.containers):
        for k, bar in enumerate(container):
            assert bar.get_height() == counts[k, c]
            assert bar.get_y() == tops[k]
        tops += counts[:, c]
    shown = [text.strip().replace("\\", "") for text in texts(figure)]
    assert shown == names[::-1]
    save_figure(figure, tmp_path / "partition.png")


def test_classes_are_told_apart_by_colour_or_hatching() -> None:
    (axes,) = plots.partition(cells(np.ones((1, 20), int)), [str(c) for c in range(20)]).axes
    looks = {(bar.get_facecolor(), bar.get_hatch()) for bar in axes.patches}
    assert len(looks) == 20


@pytest.mark.parametrize(("clients", "classes"), [(200, 10), (5, 300)])
def test_more_clients_or_classes_are_a_map_of_shares(
    clients: int, classes: int, tmp_path: Path
) -> None:
    counts = np.random.default_rng(0).integers(0, 50, (clients, classes))
    counts[1] = 0
    figure = plots.partition(cells(counts), [str(c) for c in range(classes)])
    top, main = figure.axes[:2]
    assert [bar.get_height() for bar in top.patches] == counts.sum(1).tolist()  # type: ignore[attr-defined]
    shares = np.asarray(main.images[0].get_array())
    assert shares.shape == (classes, clients)
    assert shares[:, 0].sum() == pytest.approx(100)
    assert not shares[:, 1].any()
    assert len(main.get_yticks()) <= 40
    save_figure(figure, tmp_path / "partition.png")


@pytest.mark.parametrize("skew", [1, 1000])
def test_very_many_clients_are_histograms(skew: int, tmp_path: Path) -> None:
    counts = np.zeros((1000, 4), dtype=np.int64)
    counts[:500, 0] = 7
    counts[500:999] = 3
    counts[0] *= skew
    sizes, mixture = plots.partition(cells(counts), list("abcd")).axes
    bars = {bar.get_x(): bar.get_height() for bar in sizes.patches}  # type: ignore[attr-defined]
    # The client without examples is smaller than a logarithmic axis reaches.
    assert sum(bars.values()) == (1000 if skew == 1 else 999)
    assert (sizes.get_xscale() == "log") == (skew == 1000)
    heights = [bar.get_height() for bar in mixture.patches]  # type: ignore[attr-defined]
    assert (heights[0], heights[-1], sum(heights)) == (500, 499, 999)
    save_figure(plots.partition(cells(counts), list("abcd")), tmp_path / "partition.png")


def test_divergence_is_drawn_as_it_is(tmp_path: Path) -> None:
    deltas = np.array([[0.95, 0.96, np.nan], [0.97, 1.0, np.nan]])
    figure = plots.divergence(deltas, ["conv.weight", "$b"], [2, 4, 5])
    axes = figure.axes[0]
    example = axes.images[0]
    np.testing.assert_array_equal(np.ma.filled(np.ma.asarray(example.get_array()), np.nan), deltas)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["conv.weight", r"\$b"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4", "5"]
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 2.5), (1.5, -0.5))
    save_figure(figure, tmp_path / "divergence.png")


@pytest.mark.parametrize(
    ("low", "limits"),
    [(-0.2, (-1, 1)), (0.05, (0, 1)), (0.43, (0.4, 1)), (0.93, (0.93, 1)), (1.0, (0.99, 1))],
)
def test_the_scale_of_divergence_fits_and_is_symmetric_where_signs_turn(
    low: float, limits: tuple[float, float]
) -> None:
    figure = plots.divergence(np.array([[low, 1.0], [low, low]]), ["a", "b"], [1, 2])
    assert figure.axes[0].images[0].get_clim() == pytest.approx(limits)


def test_one_odd_value_does_not_flatten_the_scale() -> None:
    deltas = np.full((50, 10), 0.95)
    deltas[0, 0] = -0.9
    figure = plots.divergence(deltas, [str(i) for i in range(50)], range(1, 11))
    assert figure.axes[0].images[0].get_clim() == pytest.approx((0.95, 1))
    assert figure.axes[1].get_ylabel() == "δ, mean over clients"


def test_many_tensors_get_few_labels() -> None:
    names = [f"layer{i}" for i in range(102)]
    axes = plots.divergence(np.ones((102, 1)), names, [1]).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert 20 <= len(labels) <= 50
    assert labels[0] == "layer0"


def test_no_figure_is_left_in_pyplots_global_state(tmp_path: Path) -> None:
    save_figure(plots.progress(rows(0.25, 0.5)), tmp_path / "progress.png")
    assert pyplot.get_fignums() == []
    assert [path.name for path in tmp_path.iterdir()] == ["progress.png"]
