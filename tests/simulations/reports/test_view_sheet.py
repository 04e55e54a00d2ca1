from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from fedssl.modalities.image import sheet as sheets
from fedssl.modalities.image.sheet import GAP, sheet
from simulations.reports.view_sheet import ROWS, draw
from simulations.settings.experiment import Experiment
from simulations.setup.prepare import prepare

Small = Callable[..., Experiment]


def pixels(figure: Figure) -> np.ndarray:
    shown = figure.axes[0].images[0].get_array()
    assert shown is not None
    return np.asarray(shown)


def test_examples_and_views_are_side_by_side_at_one_scale() -> None:
    examples = torch.zeros(3, 3, 6, 10)
    small = torch.full((3, 3, 4, 4), 0.5)
    figure = sheet([examples, small])
    found = pixels(figure)
    assert found.shape == (3 * (6 + GAP), 2 * (10 + GAP), 3)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["image", "view 1"]
    # Black examples and smaller grey views before white.
    assert (found[1:7, 1:11] == 0).all()
    assert (found == 0.5).sum() == small.numel()
    assert (found[2:6, 16:20] == 0.5).all()


def test_the_sheet_shows_the_views_that_the_objective_asks_for(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def note(columns: list[torch.Tensor]) -> Figure:
        seen.extend(columns)
        return Figure()

    monkeypatch.setattr(sheets, "sheet", note)
    prepared = prepare(
        small("objective={name: mv-infonce, views: 3}", "views=multi-crop", "client.batch_size=20")
    )
    draw(prepared, tmp_path / "new" / "sheet.png")
    assert (tmp_path / "new" / "sheet.png").exists()
    assert [tuple(column.shape[2:]) for column in seen] == [(16, 16)] * 3 + [(8, 8)]
    assert all(len(column) == ROWS for column in seen)
    train = prepared.splits.train.examples[torch.arange(48)] / 255
    assert all((train == example).all((1, 2, 3)).any() for example in seen[0])
    # Not normalised any more.
    assert all(-1e-4 < column.min() < column.max() < 1.0001 for column in seen)
