"""A sheet of lines: series and the views that clients would train on."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from fedssl.modalities.series.preparation import Standardisation

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, which the colour-blind can tell apart; channels beyond take them again."""
ROWS = 8
"""The series that are shown: more would be too small to read."""


def draw_sheet(series: Tensor, views: Sequence[Tensor], standardisation: Standardisation) -> Figure:
    """Draw a column of series, and one for each of their views.

    Parameters
    ----------
    series : Tensor
        float32 [B, C, T], as stored.
    views : Sequence[Tensor]
        float32 [B, C', T'] each.
    standardisation : Standardisation
        How series are prepared: they are drawn as the encoder takes them.
    """
    columns = [part[:ROWS] for part in (standardisation(series), *views)]
    rows = len(columns[0])
    figure = Figure(figsize=(3.2 * len(columns), 0.9 * rows + 0.8), layout="constrained", dpi=150)
    grid = figure.subplots(rows, len(columns), squeeze=False)
    for place, column in enumerate(columns):
        for row, one in enumerate(column):
            axes = grid[row, place]
            # Of a value between two gaps there is no line: a dot.
            for channel, values in enumerate(one.tolist()):
                colour = COLOURS[channel % len(COLOURS)]
                axes.plot(values, color=colour, linewidth=0.8, marker=".", markersize=1.2)
            axes.set_xlim(0, max(1, one.shape[1] - 1))
            axes.tick_params(labelsize=6, length=2)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.3)
            if row < rows - 1:
                axes.tick_params(labelbottom=False)
        grid[0, place].set_title("series" if place == 0 else f"view {place}", fontsize=9)
    channels = columns[0].shape[1]
    shown = f"{channels} channels, one colour each" if channels > 1 else "one channel"
    figure.supxlabel(f"step, or place of a coefficient; {shown}; a gap is not there", fontsize=7)
    figure.supylabel("in units of data.std", fontsize=7)
    return figure
