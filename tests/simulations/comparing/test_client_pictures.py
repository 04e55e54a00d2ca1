from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from simulations.comparing.client_pictures import by_client
from simulations.comparing.plan import PlannedRun
from tests.tools.fake_comparison import write_comparison
from tests.tools.figures import save_figure

HEAD = "client,class,examples\n"
THREE = HEAD + "0,cat,5\n0,dog,5\n1,cat,8\n2,cat,9\n2,dog,1\n"


def drift(axes: Axes) -> list[list[float]]:
    """Return each strategy's 1 − δ, row by row."""
    return [[float(x) for x in np.asarray(line.get_xdata())] for line in axes.lines]


def test_both_sides_have_the_clients_in_one_order_from_the_most_skewed(tmp_path: Path) -> None:
    def delta(run: PlannedRun, number: int, client: int, tensor: str) -> float:
        if tensor == "encoder.1.running_mean":
            return -1.0
        return 0.9 - 0.1 * client - 0.01 * number - 0.03 * (run.strategy == "ldawa") - run.seed

    made = write_comparison(tmp_path / "made", delta=delta, partition=THREE, clients=(0, 1, 2))
    figure = by_client(made)
    assert figure
    examples, turned = figure.axes
    assert examples.get_title(loc="left") == "seed 0"
    assert [label.get_text() for label in examples.get_yticklabels()] == ["1", "2", "0"]
    assert examples.get_ylim() == turned.get_ylim() == (2.5, -0.5)
    bars = [bar for bar in examples.patches if isinstance(bar, Rectangle)]
    assert [bar.get_width() for bar in bars] == [8, 9, 5, 0, 1, 5]
    assert [bar.get_x() for bar in bars] == [0, 0, 0, 8, 9, 5]
    # Two rounds, 2 and 4; seed 1 would be further by 1, and BatchNorm's mean by 1.9.
    assert drift(turned) == [pytest.approx([0.23, 0.33, 0.13]), pytest.approx([0.26, 0.36, 0.16])]
    save_figure(figure, tmp_path / "x.png")


def test_the_first_seed_of_each_cell_that_is_done_is_shown(tmp_path: Path) -> None:
    def done(run: PlannedRun) -> bool:
        return run.values["partition.alpha"] == "1" or run.seed == 1

    made = write_comparison(tmp_path / "made", vary={"partition.alpha": ("0.1", "1")}, done=done)
    figure = by_client(made)
    assert figure
    titles = [axes.get_title(loc="left") for axes in figure.axes[::2]]
    assert titles == ["partition.alpha = 0.1, seed 1", "partition.alpha = 1, seed 0"]


def test_clients_that_were_never_drawn_and_those_without_examples(tmp_path: Path) -> None:
    partition = HEAD + "0,cat,5\n0,dog,5\n2,cat,8\n3,unlabelled,4\n"
    figure = by_client(write_comparison(tmp_path / "made", partition=partition, clients=(0,)))
    assert figure
    examples, turned = figure.axes
    assert [label.get_text() for label in examples.get_yticklabels()] == ["2", "3", "0", "1"]
    assert np.isnan(drift(turned)[0]).tolist() == [True, True, False, True]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["cat", "dog", "unlabelled"]
    save_figure(figure, tmp_path / "x.png")


def test_many_clients_share_rows(tmp_path: Path) -> None:
    # Of 50 clients, the last are the most skewed.
    lines = [f"{client},cat,{100 + client}\n{client},dog,100\n" for client in range(50)]
    made = write_comparison(
        tmp_path / "made",
        partition=HEAD + "".join(lines),
        clients=range(50),
        delta=lambda run, number, client, tensor: 1 - client / 1000,
    )
    figure = by_client(made)
    assert figure
    examples, turned = figure.axes
    labels = [label.get_text() for label in examples.get_yticklabels()]
    assert (len(labels), labels[0], labels[-1]) == (20, "1–3", "49–50")
    first = next(bar for bar in examples.patches if isinstance(bar, Rectangle))
    assert first.get_width() == 148  # the mean of 147, 148 and 149
    assert drift(turned)[0][0] == pytest.approx(0.048)
    save_figure(figure, tmp_path / "x.png")


def test_many_classes_are_a_map_of_shares(tmp_path: Path) -> None:
    lines = [f"{client},{c},{c + 1}\n" for client in (0, 1) for c in range(client, 100)]
    figure = by_client(write_comparison(tmp_path / "made", partition=HEAD + "".join(lines)))
    assert figure
    shares = np.asarray(figure.axes[0].images[0].get_array())
    assert shares.shape == (2, 100)
    assert shares.sum(axis=1) == pytest.approx([1, 1])
    assert len(figure.axes[0].get_xticks()) == 20
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    save_figure(figure, tmp_path / "x.png")


def test_without_delta_or_partition_there_is_no_picture(tmp_path: Path) -> None:
    assert by_client(write_comparison(tmp_path / "none", done=lambda _: False)) is None
    assert by_client(write_comparison(tmp_path / "unevaluated", rounds=())) is None
    lost = write_comparison(tmp_path / "lost")
    for path in (tmp_path / "lost").rglob("partition.csv"):
        path.unlink()
    assert by_client(lost) is None
