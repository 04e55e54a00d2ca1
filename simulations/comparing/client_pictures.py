"""The picture of who has which examples and, beside it, how far these turn the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fedssl.partitions import Counts
from simulations.comparing.plan import Values
from simulations.comparing.plot_style import WIDTH, PlotStyle, columns_for, legend, plot_styles
from simulations.comparing.results import Results
from simulations.comparing.tables import cell_name
from simulations.record.client_names import short
from simulations.record.tables import Divergence, in_order
from simulations.reports.fonts import class_labels, literal
from simulations.reports.plots import class_look

_ROWS = 20
"""The most rows of a cell: more clients than that share them."""
_CLASSES = 20
"""The most classes that stacked bars show legibly."""


@dataclass(frozen=True)
class _Clients:
    """A cell's clients in N rows, those with the most skewed examples first."""

    cell: Values
    seed: int
    names: list[str]
    """Of the rows."""
    single: bool
    """Whether a row is a client."""
    examples: np.ndarray
    """float [N, C]: the examples of each class, the mean over a row's clients."""
    drift: dict[str, np.ndarray]
    """float [N] by strategy: the mean over a row's clients; NaN where none of them was drawn."""


def by_client(results: Results) -> Figure | None:
    """Draw each client's examples beside its mean 1 − δ for every strategy, in one seed's runs.

    One seed's, since the clients of the next have other examples. None where no run tells δ.
    """
    found = _found(results)
    if not found:
        return None
    classes = _classes(found)
    cells = [
        _in_rows(cell, *told, classes, results.client_names(cell, told[0])) for cell, told in found
    ]
    labels = [label for label in results.labels if any(label in cell.drift for cell in cells)]
    styles = plot_styles(results.labels)
    heights = [0.4 + len(cell.names) * (0.16 + 0.018 * len(labels)) for cell in cells]
    figure = Figure(figsize=(WIDTH, 1.2 + sum(heights) + 0.5 * len(cells)), layout="constrained")
    grid = figure.subplots(
        len(cells), 2, squeeze=False, sharex="col", sharey="row", height_ratios=heights
    )
    for cell, (left, right) in zip(cells, grid, strict=True):
        (_draw_bars if len(classes) <= _CLASSES else _draw_map)(left, cell, classes)
        _draw_drift(right, cell, labels, styles)
        where = f"{cell_name(cell.cell)}, seed {cell.seed}".removeprefix(", ")
        left.set_title(literal(where), loc="left", fontsize="medium", fontweight="bold")
    if len(classes) <= _CLASSES:
        handles = [
            Patch(label=label, **class_look(place, name))
            for place, (name, label) in enumerate(zip(classes, class_labels(classes), strict=True))
        ]
        figure.legend(
            handles=handles,
            loc="outside upper left",
            ncols=columns_for(classes, 0.6),
            frameon=False,
            fontsize="small",
        )
    legend(figure, labels, styles)
    return figure


def classes_of(results: Results) -> list[str]:
    """Return the names of the classes of `by_client`, in its order."""
    return _classes(_found(results))


_Told = tuple[int, tuple[Counts, list[str]], dict[str, Divergence]]


def _found(results: Results) -> list[tuple[Values, _Told]]:
    return [(cell, told) for cell in results.plan.cells if (told := _first(results, cell))]


def _classes(found: Sequence[tuple[Values, _Told]]) -> list[str]:
    return sorted({name for _, (_, (_, names), _) in found for name in names}, key=in_order)


def _first(results: Results, cell: Values) -> _Told | None:
    """Return the first seed that has both, who has which examples then, and each strategy's δ."""
    for seed in results.plan.seeds:
        partition = results.partition(cell, seed)
        every = {n: results.divergence(n, cell, seed) for n in results.plan.strategies}
        told = {label: one for label, one in every.items() if one and one.drift}
        if partition and told:
            return seed, partition, told
    return None


def _in_rows(
    cell: Values,
    seed: int,
    partition: tuple[Counts, list[str]],
    told: Mapping[str, Divergence],
    classes: Sequence[str],
    client_names: Sequence[str],
) -> _Clients:
    counts, names = partition
    sizes = counts.sizes()
    # Clients without examples last, whose mixture is no less than that of one class.
    order = np.lexsort((counts.mixture(), sizes == 0))
    rows = np.array_split(order, min(_ROWS, len(order)))
    row_of = np.empty(len(order), int)
    row_of[np.concatenate(rows)] = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    examples = np.zeros((len(rows), len(classes)))
    column_of = np.array([classes.index(name) for name in names])
    np.add.at(examples, (row_of[counts.client], column_of[counts.label]), counts.examples)
    examples /= np.array([[len(row)] for row in rows])
    ends = np.cumsum([0, *map(len, rows)])
    named = (
        [literal(short(client_names[c])) if client_names else str(c) for c in order]
        if len(rows) == len(order)
        else [f"{a + 1}–{b}" for a, b in pairwise(ends)]
    )
    drift = {label: _mean_of_rows(one.drift, rows) for label, one in told.items()}
    return _Clients(cell, seed, named, len(rows) == len(order), examples, drift)


def _mean_of_rows(drift: Mapping[int, float], rows: Sequence[np.ndarray]) -> np.ndarray:
    found = [[drift[client] for client in row.tolist() if client in drift] for row in rows]
    return np.array([fmean(values) if values else np.nan for values in found])


def _draw_bars(axes: Axes, cell: _Clients, classes: Sequence[str]) -> None:
    start = np.zeros(len(cell.names))
    for place, name in enumerate(classes):
        axes.barh(
            np.arange(len(start)), cell.examples[:, place], left=start, **class_look(place, name)
        )
        start += cell.examples[:, place]
    axes.spines[["top", "right"]].set_visible(False)
    _name_rows(axes, cell, "examples" if _single(cell) else "examples of a client, mean of the row")


def _draw_map(axes: Axes, cell: _Clients, classes: Sequence[str]) -> None:
    shares = cell.examples / np.maximum(cell.examples.sum(axis=1, keepdims=True), 1)
    axes.imshow(
        shares, aspect="auto", cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest"
    )
    places = range(0, len(classes), -(-len(classes) // 20))
    labels = class_labels(classes)
    axes.set_xticks(places, [labels[p] for p in places], rotation=90, fontsize=6)
    _name_rows(axes, cell, "class (dark: a large share of the examples)")


def _single(cell: _Clients) -> bool:
    return cell.single


def _name_rows(axes: Axes, cell: _Clients, x_label: str) -> None:
    rows = len(cell.names)
    axes.set_yticks(range(rows), cell.names, fontsize="small")
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xlabel(x_label)
    axes.xaxis.set_tick_params(labelbottom=True)
    axes.set_ylabel("client" if _single(cell) else "clients, from the most skewed")


def _draw_drift(
    axes: Axes, cell: _Clients, labels: Sequence[str], styles: Mapping[str, PlotStyle]
) -> None:
    rows = np.arange(len(cell.names))
    axes.hlines(rows[1:] - 0.5, 0, 1, transform=axes.get_yaxis_transform(), color="#DDDDDD", lw=0.6)
    for place, label in enumerate(labels):
        if label in cell.drift:
            beside = rows + 0.7 * ((place + 0.5) / len(labels) - 0.5)
            style = styles[label]
            axes.plot(cell.drift[label], beside, style.marker, color=style.colour, ms=4, mew=0)
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("mean 1 − δ over rounds and the encoder's trained tensors")
    axes.xaxis.set_tick_params(labelbottom=True)
    axes.spines[["top", "right"]].set_visible(False)
