"""A contact sheet: images and the views that clients would train on."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fedssl.modalities.image.preparation import Normalisation

GAP = 2
"""The pixels between images."""


def draw_sheet(images: Tensor, views: Sequence[Tensor], normalisation: Normalisation) -> Figure:
    """Draw a column of images, and one for each of their views.

    Parameters
    ----------
    images : Tensor
        uint8 [B, 3, H, W].
    views : Sequence[Tensor]
        float32 [B, 3, H', W'] each, normalised.
    normalisation : Normalisation
        How.
    """
    mean, std = (torch.tensor(c)[:, None, None] for c in (normalisation.mean, normalisation.std))
    return sheet([images / 255, *(view * std + mean for view in views)])


def sheet(columns: Sequence[Tensor]) -> Figure:
    """Draw a column of images, and one for each of their views, all at one scale.

    Parameters
    ----------
    columns : Sequence[Tensor]
        float32 [B, 3, H, W] each, in [0, 1]; views may be smaller than images.
    """
    count, _, height, width = columns[0].shape
    pixels = np.concatenate([_column(images, height, width) for images in columns], axis=1)
    figure = Figure(
        figsize=(len(columns), count * height / width + 0.3), layout="constrained", dpi=150
    )
    axes = figure.subplots()
    axes.imshow(pixels, interpolation="nearest")
    axes.xaxis.tick_top()
    names = ["image", *(f"view {view}" for view in range(1, len(columns)))]
    axes.set_xticks((np.arange(len(columns)) + 0.5) * (width + GAP) - 0.5, names, fontsize=8)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _column(images: Tensor, height: int, width: int) -> np.ndarray:
    """Return images one below another, each in the middle of a white tile with a border."""
    tall, wide = images.shape[2:]
    top, left = (height + GAP - tall) // 2, (width + GAP - wide) // 2
    tiles = torch.ones(len(images), height + GAP, width + GAP, 3)
    shown = images.clamp(0, 1).permute(0, 2, 3, 1)
    tiles[:, top : top + tall, left : left + wide] = shown
    column: np.ndarray = tiles.flatten(0, 1).numpy()
    return column
