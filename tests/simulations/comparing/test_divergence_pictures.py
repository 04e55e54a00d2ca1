from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulations.comparing.divergence_pictures import by_layer
from simulations.comparing.plan import PlannedRun
from tests.tools.fake_comparison import TENSORS, write_comparison
from tests.tools.figures import save_figure

CELLS = {"partition.alpha": ("0.1", "100")}


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_title()]


def turned(axes: Axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def test_a_panel_is_the_mean_over_clients_and_seeds(tmp_path: Path) -> None:
    def delta(run: PlannedRun, number: int, client: int, tensor: str) -> float:
        base = 0.1 * (run.strategy == "ldawa") + 0.2 * (run.values["partition.alpha"] == "0.1")
        return 0.9 - base - 0.01 * number * client - 0.04 * run.seed - 0.02 * TENSORS.index(tensor)

    figure = by_layer(write_comparison(tmp_path / "made", vary=CELLS, delta=delta))
    assert figure
    titles = [axes.get_title() for axes in panels(figure)]
    assert titles == ["fedavg", "ldawa", "fedavg", "ldawa"]
    heads = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert heads == ["partition.alpha = 0.1", "partition.alpha = 100"]
    for place, axes in enumerate(panels(figure)):
        base = 0.1 * (place % 2) + 0.2 * (place < 2)
        first = 1 - (0.9 - base - 0.01 * 2 * 0.5 - 0.04 * 0.5)
        assert turned(axes)[:, 0] == pytest.approx([first + 0.02 * n for n in range(4)])
        assert turned(axes)[0, 1] == pytest.approx(first + 0.01)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4"]
    names = [[label.get_text() for label in axes.get_yticklabels()] for axes in panels(figure)]
    assert names == [list(TENSORS), [], list(TENSORS), []]
    assert len({axes.images[0].get_clim() for axes in panels(figure)}) == 1
    save_figure(figure, tmp_path / "x.png")


def test_colours_are_by_orders_of_magnitude_and_told_as_deltas(tmp_path: Path) -> None:
    table = dict(zip(TENSORS, (1.0, 0.999, 0.97, -0.5), strict=True))
    for low, ends in ((0.5, (1e-6, 1)), (-0.5, (1e-6, 2))):
        table[TENSORS[3]] = low
        made = write_comparison(tmp_path / f"low{low}", delta=lambda *place: table[place[3]])
        figure = by_layer(made)
        assert figure
        assert figure.axes[0].get_xlim() == pytest.approx((ends[1], ends[0]))
        told = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert told[:3] == ["0.999999", "0.99999", "0.9999"]
        assert told[-2:] == ["0.9", "0"]
        save_figure(figure, tmp_path / "x.png")


def test_what_is_missing_is_said_and_the_rest_is_drawn(tmp_path: Path) -> None:
    def done(run: PlannedRun) -> bool:
        return run.seed == 0 and (run.strategy, run.values["partition.alpha"]) != ("ldawa", "100")

    made = write_comparison(tmp_path / "made", ("fedavg", "ldawa", "krum"), CELLS, done=done)
    # As an older fedssl left it, and as one leaves it that evaluates nothing.
    for path in (tmp_path / "made/runs/krum").rglob("divergence.csv"):
        path.unlink()
    figure = by_layer(made)
    assert figure
    assert [axes.get_title() for axes in panels(figure)] == ["fedavg", "ldawa"] * 2
    said = [[text.get_text() for text in axes.texts] for axes in panels(figure)]
    assert said == [[], [], [], ["no run is done"]]
    save_figure(figure, tmp_path / "x.png")


def test_without_any_delta_there_is_no_picture(tmp_path: Path) -> None:
    assert by_layer(write_comparison(tmp_path / "none", done=lambda _: False)) is None
    assert by_layer(write_comparison(tmp_path / "unevaluated", rounds=())) is None


def test_a_strategy_that_sends_less_leaves_rows_empty(tmp_path: Path) -> None:
    made = write_comparison(tmp_path / "made", seeds=1)
    file = tmp_path / "made/runs/fedavg/seed-0/divergence.csv"
    file.write_text("round,client,tensor,divergence\n2,0,encoder.1.weight,0.8\n")
    figure = by_layer(made)
    assert figure
    fedavg, ldawa = panels(figure)
    assert [label.get_text() for label in fedavg.get_yticklabels()] == list(TENSORS)
    there = ~np.isnan(turned(fedavg))
    assert np.argwhere(there).tolist() == [[1, 0]]
    assert np.isfinite(turned(ldawa)).all()


def test_many_strategies_wrap_and_many_tensors_get_few_names(tmp_path: Path) -> None:
    strategies = [*map(str, range(11)), "ldawa(warmup_rounds=0)"]
    tensors = [f"encoder.{n}.{what}" for n in range(40) for what in ("weight", "bias")]
    figure = by_layer(write_comparison(tmp_path / "made", strategies, seeds=1, tensors=tensors))
    assert figure
    assert [axes.get_title() for axes in panels(figure)][-1] == "ldawa(warmup_\nrounds=0)"
    assert len({axes.get_position().x0 for axes in panels(figure)}) == 6
    names = [label.get_text() for label in panels(figure)[0].get_yticklabels()]
    assert names == [f"encoder.{n}.weight" for n in range(0, 40, 2)]
    save_figure(figure, tmp_path / "x.png")
