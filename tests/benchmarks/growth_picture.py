"""The picture of growth: time and memory over clients, parameters and image side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from tests.benchmarks.lines import TOLERANCE
from tests.benchmarks.sweeps import CURVES, Sweep, short, words

_COLOURS = {"time": "#0072B2", "memory": "#0072B2", "views": "#009E73"}
_MARKERS = {"time": "o", "memory": "o", "views": "s"}
_BEND = "#D55E00"


def picture(sweeps: Sequence[Sweep]) -> Figure:
    """Draw every cost with its line, and mark where it bends.

    Parameters
    ----------
    sweeps : Sequence[Sweep]
        A column each, of two rows: time and memory.
    """
    figure = Figure(figsize=(4.2 * len(sweeps), 7.2), layout="constrained")
    rows = figure.subplots(2, len(sweeps), squeeze=False)
    figure.suptitle(
        "How cost grows. Dots are measured; lines are a fixed part + a part in proportion to "
        "clients, parameters or pixels, so they curve on these scales\n"
        f"where the fixed part counts. A bend, ringed, is where the cost lies more than "
        f"{100 * TOLERANCE:.0f} % off the line through the points before it.",
        fontsize="medium",
    )
    for column, sweep in enumerate(sweeps):
        for axes, names in zip(rows[:, column], (("time", "views"), ("memory",)), strict=True):
            _panel(axes, sweep, names)
        rows[0, column].set(
            title=sweep.quantity.name.capitalize(), ylabel=f"time, {sweep.quantity.time}"
        )
        rows[1, column].set(xlabel=sweep.quantity.name, ylabel="peak memory above the imports, MB")
    return figure


def _panel(axes: Axes, sweep: Sweep, names: Sequence[str]) -> None:
    shown = [name for name in names if sweep.curve(name)]
    if not shown:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color="#555555")
        return
    axes.set(xscale="log", yscale="log")
    for name in shown:
        _curve(axes, sweep, name)
    # A rising curve leaves the upper left corner and the lower right one free.
    corners = [(0.03, 0.97, "left", "top"), (0.97, 0.03, "right", "bottom")]
    for name, (x, y, across, along) in zip(shown, corners, strict=False):
        axes.text(
            x,
            y,
            f"{_called(sweep, name)}\n{words(sweep, name)}".strip(),
            transform=axes.transAxes,
            ha=across,
            va=along,
            color=_COLOURS[name],
            fontsize="small",
            linespacing=1.3,
        )
    costs = [cost for name in shown for _, cost in sweep.curve(name)]
    # Room for the words.
    low, high = min(costs) / (6 if len(shown) > 1 else 2), max(costs) * 6
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(FixedLocator([point.at for point in sweep.points]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: short(round(at))))
    axes.tick_params("x", labelsize="small")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _called(sweep: Sweep, name: str) -> str:
    """Name a curve where a panel shows another one too."""
    views = sweep.curve("views")
    if name == "memory" or not views:
        return ""
    if name == "time":
        return "a whole local update"
    shares = [
        100 * part / whole for (_, part), (_, whole) in zip(views, sweep.curve("time"), strict=True)
    ]
    return f"{CURVES[name]}, {min(shares):.0f}–{max(shares):.0f} % of it"


def _curve(axes: Axes, sweep: Sweep, name: str) -> None:
    curve, line, colour = sweep.curve(name), sweep.line(name), _COLOURS[name]
    at, costs = zip(*curve, strict=True)
    axes.plot(at, costs, _MARKERS[name], color=colour, markersize=5, label=name)
    if line is None:
        return
    straight = at if line.bend is None else at[: line.bend]
    for begin, end, style in ((at[0], straight[-1], "-"), (straight[-1], at[-1], ":")):
        along = np.geomspace(begin, end, 100)
        axes.plot(along, [line.at(x**sweep.quantity.power) for x in along], style, color=colour)
    if line.bend is not None:
        axes.plot(
            at[line.bend], costs[line.bend], "o", color=_BEND, markersize=12, fillstyle="none"
        )
