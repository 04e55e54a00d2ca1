"""The colour, line and marker of each strategy in all pictures of a comparison."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simulations.comparing.arms import REFERENCES, UNTRAINED
from simulations.reports.fonts import literal

Style = Literal["-", "--", "-.", ":"]

# Okabe and Ito's colours without the yellow, which print makes pale.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"]
_STYLES: list[Style] = ["-", "--", "-.", ":"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<"]
GREY = "#666666"
WIDTH = 10.0
"""The width of every picture, in inches."""


@dataclass(frozen=True)
class PlotStyle:
    """How a strategy is drawn; line and marker also tell it apart in black and white."""

    colour: str
    style: Style
    marker: str


def plot_styles(labels: Sequence[str]) -> dict[str, PlotStyle]:
    """Return a style for each strategy; references are grey."""
    strategies = [label for label in labels if label not in (*REFERENCES, UNTRAINED)]
    styles = {
        label: PlotStyle(
            _COLOURS[place % len(_COLOURS)],
            _STYLES[(2 * (place // len(_COLOURS)) + place) % len(_STYLES)],
            _MARKERS[place % len(_MARKERS)],
        )
        for place, label in enumerate(strategies)
    }
    for place, label in enumerate((*REFERENCES, UNTRAINED)):
        styles[label] = PlotStyle(GREY, _STYLES[1 + place], _MARKERS[5 + place])
    return styles


def legend(figure: Figure, labels: Sequence[str], styles: Mapping[str, PlotStyle]) -> None:
    """Name the strategies below a picture, in as many columns as there is room for."""
    handles = [
        Line2D(
            [],
            [],
            color=styles[label].colour,
            linestyle=styles[label].style,
            marker=styles[label].marker,
            label=literal(label),
        )
        for label in labels
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(4, columns_for(labels, 0.9)),
        frameon=False,
        handlelength=3.5,
    )


def columns_for(names: Sequence[str], line_width: float) -> int:
    """Return how many columns of a legend fit; each entry's line takes ``line_width`` inches."""
    return max(1, int(WIDTH / (line_width + 0.08 * max(map(len, names), default=0))))


def folded(label: str, width: int) -> str:
    """Break a label after punctuation into lines of about ``width`` letters."""
    lines = [""]
    for part in re.findall(r"[^(._=,-]*[(._=,-]?", label):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def frame(axes: Axes, title: str, x_label: str) -> None:
    """Set the title, axis label, grid and frame that all panels have in common."""
    axes.set_title(literal(title), fontsize="medium")
    axes.set_xlabel(x_label)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
