"""The pictures of a comparison's accuracies. Each function returns a matplotlib Figure."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simulations.comparing.arms import UNTRAINED
from simulations.comparing.findings import Difference, Finding
from simulations.comparing.metric import Metric
from simulations.comparing.plan import Values
from simulations.comparing.plot_style import GREY, WIDTH, PlotStyle, frame, legend, plot_styles
from simulations.comparing.results import Result, Results
from simulations.comparing.tables import cell_name
from simulations.reports.fonts import literal

_IN_A_ROW = 2
"""The most panels side by side."""


def by_round(results: Results) -> Figure:
    """Draw accuracy by round: the mean over seeds, and a band from the lowest to the highest."""

    def draw(axes: Axes, done: list[Result], style: PlotStyle) -> None:
        x, values = _curves(done)
        axes.fill_between(x, values.min(0), values.max(0), color=style.colour, alpha=0.12, lw=0)
        _line(axes, x, values.mean(0), style)

    figure = _panels(results, draw, "round", shown=lambda label: label != UNTRAINED)
    for axes in figure.axes:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def by_bytes(results: Results) -> Figure:
    """Draw accuracy against what had travelled: the mean over seeds."""

    def draw(axes: Axes, done: list[Result], style: PlotStyle) -> None:
        _, values = _curves(done)
        sent = np.mean([_sent(result) for result in done], axis=0)
        _line(axes, sent / 1e6, values.mean(0), style)

    compared = set(results.plan.strategies)
    return _panels(
        results, draw, "sent up and down, all clients (MB)", shown=lambda label: label in compared
    )


def _panels(
    results: Results,
    draw: Callable[[Axes, list[Result], PlotStyle], None],
    x_label: str,
    shown: Callable[[str], bool],
) -> Figure:
    """Draw a panel for each cell, and one legend."""
    plan, styles = results.plan, plot_styles(results.labels)
    labels = [label for label in results.labels if shown(label)]
    columns = min(_IN_A_ROW, len(plan.cells))
    lines = -(-len(plan.cells) // columns)
    figure = Figure(figsize=(WIDTH, 0.7 + 3.5 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    drawn = set()
    for axes, cell in zip(grid.flat, plan.cells, strict=False):
        for label in labels:
            done = _done(results, label, cell)
            if done:
                draw(axes, done, styles[label])
                drawn.add(label)
        frame(axes, cell_name(cell), x_label)
    for axes in grid.flat[len(plan.cells) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel(_axis(plan.metric))
    legend(figure, [label for label in labels if label in drawn], styles)
    return figure


def final(results: Results, lines: Sequence[Finding]) -> Figure:
    """Draw final accuracies: each seed, the mean and its 95 % t interval, cell by cell."""
    plan, styles = results.plan, plot_styles(results.labels)
    labels = results.labels
    columns = min(_IN_A_ROW, len(plan.cells))
    rows = -(-len(plan.cells) // columns)
    figure = Figure(figsize=(WIDTH, rows * (1.1 + 0.34 * len(labels))), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True, sharex=True)
    for axes, cell in zip(grid.flat, plan.cells, strict=False):
        for line in lines:
            if line.values == cell and line.accuracy is not None:
                _interval(axes, line, labels.index(line.strategy), styles[line.strategy])
        frame(axes, cell_name(cell), _axis(plan.metric, " after the last round"))
        axes.set_yticks(range(len(labels)), [literal(label) for label in labels])
        axes.set_ylim(len(labels) - 0.4, -0.6)
        base = next((x for x in lines if x.values == cell and x.is_baseline and x.accuracy), None)
        if base and base.accuracy:
            axes.axvline(base.accuracy.mean, color=GREY, lw=0.8, ls=":", zorder=0)
    for axes in grid.flat[len(plan.cells) :]:
        axes.remove()
    _clip(grid.flat[0], lines)
    return figure


def differences(results: Results, lines: Sequence[Finding]) -> Figure:
    """Draw each strategy's paired difference to the baseline, with both of its intervals.

    Grey is where strategies count as equivalent.
    """
    plan, styles = results.plan, plot_styles(results.labels)
    labels = [label for label in results.labels if label != plan.baseline]
    columns = min(_IN_A_ROW, len(plan.cells))
    rows = -(-len(plan.cells) // columns)
    figure = Figure(figsize=(WIDTH, rows * (1.1 + 0.38 * len(labels))), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True, sharex=True)
    for axes, cell in zip(grid.flat, plan.cells, strict=False):
        axes.axvspan(-plan.margin, plan.margin, color="#EEEEEE", lw=0, zorder=0)
        axes.axvline(0, color=GREY, lw=0.8, zorder=1)
        for line in lines:
            if line.values == cell and line.difference:
                place = labels.index(line.strategy)
                _difference(axes, line.difference, place, styles[line.strategy])
        above = f"{plan.metric.unit} above {literal(plan.baseline)}, paired by seed"
        frame(axes, cell_name(cell), above)
        axes.set_yticks(range(len(labels)), [literal(label) for label in labels])
        axes.set_ylim(len(labels) - 0.4, -0.6)
    for axes in grid.flat[len(plan.cells) :]:
        axes.remove()
    found = [line.difference for line in lines if line.difference]
    ends = [value for d in found for value in (*d.by_seed, *(d.examples or ()))]
    reach = 1.15 * max(2.0, *map(abs, ends)) if ends else 2.0
    grid.flat[0].set_xlim(-reach, reach)
    return figure


def _difference(axes: Axes, found: Difference, place: int, style: PlotStyle) -> None:
    over_seeds = found.estimate
    if over_seeds.low is not None and over_seeds.high is not None:
        ends = [over_seeds.low, over_seeds.high]
        axes.plot(ends, [place, place], color=style.colour, lw=2.2, alpha=0.45)
    if found.examples:
        below = [place + 0.22, place + 0.22]
        axes.plot(found.examples, below, "-|", color=style.colour, lw=0.9, ms=4)
    axes.plot(found.by_seed, [place] * len(found.by_seed), "|", color=style.colour, ms=9, mew=1.2)
    axes.plot(
        [over_seeds.mean], [place], style.marker, color=style.colour, ms=7, mec="white", mew=0.4
    )


def _clip(axes: Axes, lines: Sequence[Finding]) -> None:
    """Keep wide intervals of few seeds from squeezing the means together."""
    values = [value for line in lines for value in line.by_seed]
    if values:
        low, high = min(values), max(values)
        room = 0.35 * max(high - low, 2.0)
        axes.set_xlim(low - room, high + room)


def _interval(axes: Axes, line: Finding, place: int, style: PlotStyle) -> None:
    assert line.accuracy is not None
    found = line.accuracy
    if found.low is not None and found.high is not None:
        axes.plot([found.low, found.high], [place, place], color=style.colour, lw=2.2, alpha=0.45)
    axes.plot(line.by_seed, [place] * len(line.by_seed), "|", color=style.colour, ms=9, mew=1.2)
    axes.plot(
        [found.mean],
        [place],
        style.marker,
        color=style.colour,
        ms=7,
        mec="white",
        mew=0.4,
        zorder=3,
    )


def _axis(metric: Metric, when: str = "") -> str:
    return metric.axis + when + (f" ({metric.suffix.strip()})" if metric.suffix else "")


def _done(results: Results, label: str, cell: Values) -> list[Result]:
    every = (results.of(label, cell, seed) for seed in results.plan.seeds)
    return [result for result in every if result.done]


def _curves(done: Sequence[Result]) -> tuple[np.ndarray, np.ndarray]:
    """Return the evaluated rounds, int [R], and accuracies in per cent, float [seeds, R]."""
    table = [
        {row["round"]: r.metric.of(row) for row in r.rows if r.metric.key in row} for r in done
    ]
    return np.array(list(table[0])), np.array([list(rows.values()) for rows in table])


def _sent(result: Result) -> np.ndarray:
    """Return what had travelled by each evaluated round, float [R]."""
    sent = np.cumsum([row["bytes_up"] + row["bytes_down"] for row in result.rows], dtype=float)
    return sent[[n for n, row in enumerate(result.rows) if result.metric.key in row]]


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, style: PlotStyle) -> None:
    every = max(1, len(x) // 8)
    axes.plot(
        x,
        y,
        color=style.colour,
        linestyle=style.style,
        marker=style.marker,
        markersize=4,
        markevery=every,
        linewidth=1.5,
    )
