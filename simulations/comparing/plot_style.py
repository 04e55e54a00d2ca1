"""How strategies look in all pictures of a comparison."""

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
"""Of every picture, in inches."""


@dataclass(frozen=True)
class Look:
    """How a strategy is drawn: also told by line and marker, for print in black and white."""

    colour: str
    style: Style
    marker: str


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """Return a look for each strategy; references are grey."""
    strategies = [label for label in labels if label not in (*REFERENCES, UNTRAINED)]
    found = {
        label: Look(
            _COLOURS[place % len(_COLOURS)],
            _STYLES[(2 * (place // len(_COLOURS)) + place) % len(_STYLES)],
            _MARKERS[place % len(_MARKERS)],
        )
        for place, label in enumerate(strategies)
    }
    for place, label in enumerate((*REFERENCES, UNTRAINED)):
        found[label] = Look(GREY, _STYLES[1 + place], _MARKERS[5 + place])
    return found


def legend(figure: Figure, labels: Sequence[str], look: Mapping[str, Look]) -> None:
    """Name the strategies below a picture, in as many columns as there is room for."""
    handles = [
        Line2D(
            [],
            [],
            color=look[label].colour,
            linestyle=look[label].style,
            marker=look[label].marker,
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


def columns_for(names: Sequence[str], beside: float) -> int:
    """Return how many columns of a legend have room, with ``beside`` inches for what is drawn."""
    return max(1, int(WIDTH / (beside + 0.08 * max(map(len, names), default=0))))


def folded(label: str, width: int) -> str:
    """Break a label after its signs into lines of about so many letters."""
    lines = [""]
    for part in re.findall(r"[^(._=,-]*[(._=,-]?", label):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def frame(axes: Axes, title: str, x_label: str) -> None:
    """Give a panel what all have in common."""
    axes.set_title(literal(title), fontsize="medium")
    axes.set_xlabel(x_label)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
