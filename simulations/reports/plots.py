"""The pictures of a run; each function returns a matplotlib Figure and changes no global state."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedssl.partitions import Counts
from simulations.record.client_names import short
from simulations.record.files import replace_bytes
from simulations.reports.fonts import class_labels, literal, set_fonts

ACCURACIES = {
    "linear_accuracy": ("linear probe", "#0072B2", "-", "o"),
    "linear_accuracy_recalibrated": ("linear probe, BatchNorm recalibrated", "#009E73", "--", "s"),
    "knn_accuracy": ("kNN", "#D55E00", "-.", "^"),
}
"""The label and style of each accuracy of ``metrics.jsonl``: Okabe and Ito's colours, and a line
style and a marker each, for print in black and white."""

# Paul Tol's "muted" colours, which the colour-blind can tell apart, and pale grey.
CLASS_COLOURS = ["#332288", "#88CCEE", "#44AA99", "#117733", "#999933"]
CLASS_COLOURS += ["#DDCC77", "#CC6677", "#882255", "#AA4499", "#4477AA"]
_UNLABELLED = "#DDDDDD"

_MOST = 3.5e38
_BARS = (40, 20)
"""The most clients, and classes, that stacked bars show legibly."""
_COLUMNS = 200
"""The most clients that a heat map shows one by one."""


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; the file is replaced as a whole."""
    set_fonts(figure)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    replace_bytes(path, content.getvalue())


def progress(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw accuracy and training loss by round.

    Parameters
    ----------
    rows : Sequence[Mapping]
        Those of ``metrics.jsonl``; a figure that a round lacks is skipped.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.set_xlabel("round")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for key, (label, colour, style, marker) in ACCURACIES.items():
        points = [(r["round"], 100 * r[key]) for r in rows if r.get(key) is not None]
        if points:
            label += f": {points[-1][1]:.1f} %"
            _line(left, points, colour, style, marker, label)
    if left.lines:
        figure.legend(
            title="Accuracy (the last value)", loc="outside lower center", ncols=3, frameon=False
        )
    else:
        _say(left, "not evaluated yet")
    left.set(title="Accuracy of the frozen encoder", ylabel="test accuracy (%)")
    losses = [(r["round"], r["train_loss"]) for r in rows if r.get("train_loss") is not None]
    if losses:
        _line(right, losses, "#000000", "-", "o")
    else:
        _say(right, "no round was trained yet")
    right.set(title="Training loss", ylabel="mean over the clients' examples")
    return figure


def _line(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    colour: str,
    style: str,
    marker: str,
    label: str | None = None,
) -> None:
    # What no float32 reaches is as little to be drawn as infinity, and makes ticks overflow.
    x, y = zip(*((x, y if abs(y) < _MOST else math.nan) for x, y in points), strict=True)
    shown = marker if len(points) <= 30 else ""
    axes.plot(x, y, color=colour, linestyle=style, marker=shown, markersize=4, label=label)


def _say(axes: Axes, text: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#555555")


def partition(
    counts: Counts,
    class_names: Sequence[str],
    client_names: Sequence[str] = (),
    noun: str = "examples",
) -> Figure:
    """Draw the numbers of examples by client and class.

    Bars for few clients and classes, a heat map for more; beyond 200 clients, how sizes and class
    mixtures are distributed over them.

    Parameters
    ----------
    counts : Counts
        The examples of each client and class.
    class_names : Sequence[str]
        The C names; the one called ``unlabelled`` is drawn grey.
    client_names : Sequence[str]
        The K names of the clients; none where they have numbers only.
    noun : str
        What examples are called.
    """
    clients, classes = counts.shape
    if clients <= _BARS[0] and classes <= _BARS[1]:
        return _partition_bars(counts.dense(), class_labels(class_names), client_names, noun)
    if clients <= _COLUMNS:
        return _partition_map(counts.dense(), class_labels(class_names), client_names, noun)
    return _partition_histograms(counts, noun)


def _partition_bars(
    counts: np.ndarray, names: Sequence[str], client_names: Sequence[str], noun: str
) -> Figure:
    clients, classes = counts.shape
    size = (max(8.0, 3 + 0.2 * clients), max(4.0, 1 + 0.23 * classes))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    bottom = np.zeros(clients)
    for c in range(classes):
        axes.bar(
            np.arange(clients),
            counts[:, c],
            bottom=bottom,
            label=names[c],
            **class_look(c, names[c]),
        )
        bottom += counts[:, c]
    axes.set(title=f"{noun.capitalize()} of each client, by class", xlabel="client", ylabel=noun)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=20, integer=True, min_n_ticks=1))
    axes.set_xlim(-0.6, clients - 0.4)
    _name_clients(axes, client_names)
    axes.spines[["top", "right"]].set_visible(False)
    # From the top down, as the bars are stacked.
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles[::-1], labels[::-1], loc="outside right center", frameon=False, fontsize="small"
    )
    return figure


def class_look(place: int, name: str) -> dict[str, Any]:
    """Return the style of a class in stacked bars; 20 classes have distinct styles.

    Parameters
    ----------
    place : int
        Its place among the classes.
    name : str
        What it is called; ``unlabelled`` is grey.
    """
    unlabelled = name == "unlabelled"
    return {
        "facecolor": _UNLABELLED if unlabelled else CLASS_COLOURS[place % len(CLASS_COLOURS)],
        "hatch": "////" if place >= len(CLASS_COLOURS) and not unlabelled else None,
        "edgecolor": "white",
        "linewidth": 0.4,
    }


def _partition_map(
    counts: np.ndarray, names: Sequence[str], client_names: Sequence[str], noun: str
) -> Figure:
    clients, classes = counts.shape
    height = 1.6 + float(np.clip(0.2 * classes, 2.5, 7))
    figure = Figure(figsize=(9, height), layout="constrained")
    top, main = figure.subplots(2, 1, sharex=True, height_ratios=[1, height - 1.6])
    sizes = counts.sum(axis=1)
    top.bar(np.arange(clients), sizes, width=1.0, color="#0072B2")
    top.set(title=f"{noun.capitalize()} of each client, and their classes", ylabel=noun)
    top.spines[["top", "right"]].set_visible(False)
    shares = 100 * counts / np.maximum(sizes, 1)[:, None]
    shown = main.imshow(
        shares.T,
        aspect="auto",
        cmap="Blues",
        # A square root, so that small shares show next to whole ones.
        norm=PowerNorm(0.5, vmin=0, vmax=max(float(shares.max()), 1)),
        interpolation="nearest",
    )
    main.set(xlabel="client", ylabel="class")
    main.xaxis.set_major_locator(MaxNLocator(nbins=20, integer=True, min_n_ticks=1))
    _name_clients(main, client_names)
    _label_rows(main, names, most=40)
    figure.colorbar(shown, ax=main, label=f"share of the client's {noun} (%)")
    return figure


def _name_clients(axes: Axes, names: Sequence[str]) -> None:
    """Name every client, if they have names and all are legible."""
    if 0 < len(names) <= _BARS[0]:
        shown = [literal(short(name)) for name in names]
        upright = max(map(len, shown)) * len(shown) > 60
        axes.set_xticks(
            range(len(names)),
            shown,
            rotation=60 if upright else 0,
            ha="right" if upright else "center",
            fontsize="small",
        )


def _partition_histograms(counts: Counts, noun: str) -> Figure:
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    sizes = counts.sizes()
    largest = int(sizes.max())
    if largest > 50 * max(1, np.median(sizes)):
        edges = np.unique(np.geomspace(1, largest + 1, 40).astype(int))
        left.set_xscale("log")
    else:
        # Half below, so that a bar stands over its size.
        edges = np.unique(np.linspace(0, largest + 1, 41).astype(int)) - 0.5
        left.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    left.hist(sizes, bins=edges.tolist(), color="#0072B2")
    left.set(title=f"Sizes of {len(sizes):,} clients", xlabel=noun, ylabel="clients")
    mixture = counts.mixture()[sizes > 0]
    most = max(float(mixture.max()), 2.0)
    right.hist(mixture, bins=np.linspace(1, most, 41).tolist(), color="#0072B2")
    right.set(
        title=f"How mixed their {noun} are",
        xlabel="effective number of classes, exp(entropy)",
        ylabel="clients",
    )
    for axes in (left, right):
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def divergence(deltas: np.ndarray, tensors: Sequence[str], rounds: Sequence[int]) -> Figure:
    """Draw δ, the cosine between a client's tensor and the global one, by tensor and round.

    Parameters
    ----------
    deltas : np.ndarray
        float [L, R]: the mean over the clients of a round; NaN where there is none.
    tensors : Sequence[str]
        The L names, in the model's order.
    rounds : Sequence[int]
        The R rounds, ascending: those that were evaluated.
    """
    height = float(np.clip(1.2 + 0.16 * len(tensors), 3, 8.5))
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots()
    limits = _limits(deltas)
    colours = colormaps["RdBu" if limits[0] < 0 else "viridis"].with_extremes(
        bad="#BBBBBB", under="#D55E00"
    )
    shown = axes.imshow(
        deltas,
        aspect="auto",
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
    )
    axes.set(title="Cosine of a client's tensor with the global one, δ", xlabel="round")
    label_columns(axes, rounds, most=15)
    _label_rows(axes, [literal(name) for name in tensors], most=50)
    below = bool(np.nanmin(deltas) < limits[0])
    figure.colorbar(
        shown,
        ax=axes,
        label="δ, mean over clients",
        extend="min" if below else "neither",
        aspect=40,
    )
    return figure


def _limits(deltas: np.ndarray) -> tuple[float, float]:
    """Return the scale's ends: up to 1, and down to the values of all but outlying tensors."""
    low = float(np.nanpercentile(deltas, 2))
    if low < 0:
        return -1.0, 1.0
    step = 0.1 if low < 0.9 else 0.01
    return float(min(np.floor(low / step) * step, 0.99)), 1.0


def _label_rows(axes: Axes, names: Sequence[str], most: int) -> None:
    """Name every row, or evenly spaced ones if not all would be legible."""
    places = range(0, len(names), -(-len(names) // most))
    axes.set_yticks(places, [names[i] for i in places], fontsize=7)


def label_columns(axes: Axes, rounds: Sequence[int], most: int) -> None:
    """Name every column by its round, or evenly spaced ones if not all would be legible."""
    places = range(0, len(rounds), -(-len(rounds) // most))
    axes.set_xticks(places, [str(rounds[i]) for i in places])
