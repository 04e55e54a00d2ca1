"""A contact sheet: images and the views that clients would train on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fedssl.local_update import build_objective
from fedssl.seeding import generator
from fedssl.views import Views
from simulations import plots
from simulations.prepare import Prepared

ROWS = 12
"""The images that are shown."""


def draw(prepared: Prepared, path: Path) -> None:
    """Write originals and their views as PNG.

    Parameters
    ----------
    prepared : Prepared
        Its objective says how many views there are.
    path : Path
        The file, replaced as a whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    experiment, images = prepared.experiment, prepared.splits.train.images
    count = build_objective(experiment, images.shape[-1]).views_in_all
    draws = generator(experiment.seed, "contact sheet")
    # A batch as large as a client's, since some steps depend on it.
    rows = torch.randperm(len(images), generator=draws)[: experiment.client.batch_size]
    chosen = images[rows]
    mean, std = (
        torch.tensor(c)[:, None, None] for c in (experiment.data.mean, experiment.data.std)
    )
    recipe = Views(experiment.views, experiment.data.mean, experiment.data.std)
    views = [recipe(chosen, draws, view) * std + mean for view in range(1, count + 1)]
    plots.save(sheet([(chosen / 255)[:ROWS], *(view[:ROWS] for view in views)]), path)


def sheet(columns: Sequence[Tensor]) -> Figure:
    """Draw a column of images, and one for each of their views, all at one scale.

    Parameters
    ----------
    columns : Sequence[Tensor]
        float32 [B, 3, H, W] each, in [0, 1]; views may be smaller than images.
    """
    count, _, height, width = columns[0].shape
    figure = Figure(figsize=(1.1 * len(columns), 1.1 * count * height / width + 0.4))
    axes = figure.subplots(1, len(columns), squeeze=False)[0]
    for place, (part, images) in enumerate(zip(axes, columns, strict=True)):
        part.imshow(_column(images, height, width), interpolation="nearest")
        part.set_axis_off()
        part.set_title("image" if place == 0 else f"view {place}", fontsize=9)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.3 / figure.get_figheight())
    return figure


def _column(images: Tensor, height: int, width: int) -> np.ndarray:
    """Return images one below another, each in the middle of a white tile with a border."""
    tiles = torch.ones(len(images), height + 2, width + 2, 3)
    down, across = (
        (n + 2 - m) // 2 for n, m in zip((height, width), images.shape[2:], strict=True)
    )
    place = (
        slice(None),
        slice(down, down + images.shape[2]),
        slice(across, across + images.shape[3]),
    )
    tiles[place] = images.clamp(0, 1).permute(0, 2, 3, 1)
    return tiles.flatten(0, 1).numpy()
