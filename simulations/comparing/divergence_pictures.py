"""The pictures of how far clients turn the weights: by layer, and beside the examples they have.

Each function returns a matplotlib Figure, or None where no run tells δ.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from simulations.comparing.plan import Values
from simulations.comparing.plot_style import WIDTH, folded
from simulations.comparing.results import Results
from simulations.comparing.tables import cell_name
from simulations.record.tables import Divergence
from simulations.reports.fonts import literal
from simulations.reports.plots import label_columns

_PANELS = 6
"""The most strategies side by side."""
_TENSORS = 30
"""The most tensors that are named; of more, layers are."""
_LINE = 0.15
"""Inches."""
_FINEST = 1e-6
"""The smallest 1 − δ that ``divergence.csv`` tells from 0: it has six digits."""

OfSeeds = Mapping[str, Sequence[Divergence]]
"""δ of each seed's run, by strategy."""


def by_layer(results: Results) -> Figure | None:
    """Draw δ by tensor and round: the mean over clients and seeds, a panel for each strategy."""
    cells = [(cell, found) for cell in results.plan.cells if (found := _of_seeds(results, cell))]
    labels = [n for n in results.labels if any(n in found for _, found in cells)]
    if not labels:
        return None
    lines = -(-len(labels) // _PANELS)
    columns = -(-len(labels) // lines)
    means = [_means(found) for _, found in cells]
    scale = _scale([deltas for _, _, table in means for deltas in table.values()])
    panels = [float(np.clip(0.1 * len(names), 1, 3)) for names, _, _ in means]
    # A row for the colours, and for each cell one for its name and some for its panels.
    heights = [_LINE, *(h for panel in panels for h in (_LINE, *[panel] * lines))]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.7 * len(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    _draw_colours(figure.add_subplot(grid[0, :]), scale)
    for place, ((cell, _), (names, rounds, table)) in enumerate(zip(cells, means, strict=True)):
        top = 1 + place * (1 + lines)
        head = figure.add_subplot(grid[top, :])
        head.set_axis_off()
        head.text(0, 0, literal(cell_name(cell)), fontweight="bold")
        for number, label in enumerate(labels):
            line, column = divmod(number, columns)
            axes = figure.add_subplot(grid[top + 1 + line, column])
            axes.set_title(literal(folded(label, 96 // columns)), fontsize="small")
            axes.set(xticks=[], yticks=[])
            if label in table:
                _draw_map(axes, table[label], rounds, scale)
            else:
                axes.text(0.5, 0.5, "no run is done", transform=axes.transAxes, ha="center")
            if column == 0:
                _name_rows(axes, names)
    return figure


def _of_seeds(results: Results, cell: Values) -> OfSeeds:
    every = {
        label: [results.divergence(label, cell, seed) for seed in results.plan.seeds]
        for label in results.plan.strategies
    }
    told = {label: [one for one in runs if one] for label, runs in every.items()}
    return {label: runs for label, runs in told.items() if runs}


def _means(found: OfSeeds) -> tuple[list[str], list[int], dict[str, np.ndarray]]:
    """Return L tensors and R rounds, of all runs, and each strategy's mean δ, float [L, R]."""
    runs = [run for runs in found.values() for run in runs]
    # The longest list first: some strategies send only part of the model.
    lists = sorted((run.tensors for run in runs), key=len, reverse=True)
    names = list(dict.fromkeys(name for tensors in lists for name in tensors))
    rounds = sorted({number for run in runs for number in run.rounds})
    table = {label: _mean(runs, names, rounds) for label, runs in found.items()}
    return names, rounds, table


def _mean(runs: Sequence[Divergence], names: Sequence[str], rounds: Sequence[int]) -> np.ndarray:
    """Return the mean over the runs, float [L, R]; NaN where none of them has a δ."""
    total, count = np.zeros((2, len(names), len(rounds)))
    for run in runs:
        place = np.ix_([names.index(n) for n in run.tensors], [rounds.index(r) for r in run.rounds])
        there = ~np.isnan(run.deltas)
        total[place] += np.where(there, run.deltas, 0)
        count[place] += there
    return np.where(count, total / np.maximum(count, 1), np.nan)


def _scale(tables: Sequence[np.ndarray]) -> LogNorm:
    """Return the scale of 1 − δ: logarithmic, since layers differ by orders of magnitude."""
    turned = 1 - np.concatenate([table.ravel() for table in tables])
    low, high = np.nanpercentile(turned, 5), np.nanmax(turned)
    ends = [10 ** np.floor(np.log10(max(low, _FINEST))), 10 ** np.ceil(np.log10(max(high, 1e-5)))]
    return LogNorm(float(ends[0]), 2.0 if high > 1 else float(ends[1]), clip=True)


_COLOURS = colormaps["viridis_r"].with_extremes(bad="#BBBBBB")


def _draw_map(axes: Axes, deltas: np.ndarray, rounds: Sequence[int], scale: LogNorm) -> None:
    # A logarithm has no place for 0, which the finest colour stands for as well.
    turned = np.maximum(1 - deltas, _FINEST)
    axes.imshow(turned, aspect="auto", cmap=_COLOURS, norm=scale, interpolation="nearest")
    label_columns(axes, rounds, most=6)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("round", fontsize=8)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the tensors, or where there are many the first tensor of each layer, or of some."""
    places = list(range(len(names)))
    if len(names) > _TENSORS:
        layers = [name.rpartition(".")[0] for name in names]
        places = [p for p in places if p == 0 or layers[p] != layers[p - 1]]
        places = places[:: -(-len(places) // _TENSORS)]
    axes.set_yticks(places, [literal(names[place]) for place in places], fontsize=6)


def _draw_colours(axes: Axes, scale: LogNorm) -> None:
    colours = ScalarMappable(scale, _COLOURS)
    bar = axes.figure.colorbar(colours, cax=axes, orientation="horizontal")
    bar.set_label("δ, mean over clients and seeds (a logarithmic scale of 1 − δ)")
    assert scale.vmin is not None
    assert scale.vmax is not None
    powers = range(round(np.log10(scale.vmin)), int(np.log10(scale.vmax)) + 1)
    bar.set_ticks([10.0**n for n in powers], labels=[_one_less(n) for n in powers])
    bar.minorticks_off()
    axes.invert_xaxis()


def _one_less(power: int) -> str:
    """Return 1 − 10ⁿ as it is written."""
    return f"{1 - 10.0**power:.{max(0, -power)}f}"
