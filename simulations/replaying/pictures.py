"""The pictures of replays and audits; each function returns a matplotlib Figure."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simulations.comparing.plot_style import plot_styles
from simulations.replaying.results import EncoderProbe, Merge
from simulations.reports.fonts import literal

_GREY = "#666666"
_ACCURACY = "linear probe, test accuracy (%)"
_WITH_BARS = f"{_ACCURACY}\nbars: 95 % over test examples, of the difference to the dotted line"
_MARKERS = {"merged": "o", "recalibrated": "s", "norms restored": "^", "both": "D"}
"""The marker of each variant of a merged encoder."""


def draw_replay(server_round: int, merges: Sequence[Merge]) -> Figure:
    """Draw each strategy's accuracy after merging the same replies, and in the rounds that follow.

    The left panel has the accuracy after the merge, with the interval over test examples of its
    difference to the first strategy. The right panel, if rounds followed, has the accuracy by
    round.
    """
    styles = plot_styles([merged.strategy for merged in merges])
    labelled = [m for m in merges if "linear_accuracy" in m.row]
    after = any(merged.after for merged in labelled)
    figure = Figure(
        figsize=(10 if after else 6.5, 1.6 + max(1.4, 0.42 * len(merges))), layout="constrained"
    )
    axes = figure.subplots(1, 2 if after else 1, squeeze=False)[0]
    for place, merged in enumerate(labelled):
        value = 100 * merged.row["linear_accuracy"]
        style = styles[merged.strategy]
        if difference := merged.difference:
            base = value - difference.points
            ends = [base + difference.low, base + difference.high]
            axes[0].plot(ends, [place, place], color=style.colour, lw=2.2, alpha=0.45)
        axes[0].plot([value], [place], style.marker, color=style.colour, ms=7, mec="white", mew=0.8)
    if labelled:
        axes[0].axvline(100 * labelled[0].row["linear_accuracy"], color=_GREY, lw=0.8, ls=":")
    _rows(axes[0], [merged.strategy for merged in labelled])
    _frame(axes[0], f"The replies of round {server_round}, merged", _WITH_BARS)
    if after:
        for merged in labelled:
            rows = [merged.row, *merged.after]
            style = styles[merged.strategy]
            axes[1].plot(
                [row["round"] for row in rows],
                [100 * row["linear_accuracy"] for row in rows],
                color=style.colour,
                linestyle=style.style,
                marker=style.marker,
                markersize=4,
            )
        axes[1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes[1].set_ylabel(_ACCURACY)
        # No legend, which would lie over the lines: the rows on the left have the same marks.
        _frame(axes[1], "What followed under each", "round; marks as on the left")
    return figure


def draw_audit(server_round: int, probes: Sequence[EncoderProbe]) -> Figure:
    """Draw the accuracy of the encoders before, in and after a merge.

    A bar is the interval over test examples of the difference to the clients' mean, which is the
    dotted line.
    """
    clients = [100 * p.linear_accuracy for p in probes if p.encoder.startswith("client ")]
    out = [p for p in probes if p.strategy is not None]
    styles = plot_styles(list(dict.fromkeys(str(p.strategy) for p in out)))
    names = ["sent to the clients", f"clients, {len(clients)} encoders"]
    names += [f"{p.strategy}: {p.encoder}" for p in out]
    figure = Figure(figsize=(8.5, 1.3 + 0.34 * len(names)), layout="constrained")
    axes = figure.subplots()
    mean = float(np.mean(clients))
    axes.axvline(mean, color=_GREY, lw=0.8, ls=":")
    axes.plot(clients, [1] * len(clients), "|", color="black", ms=10, mew=1.2)
    axes.plot([mean], [1], "o", color="black", ms=6)
    _point(axes, probes[0], 0, "black", "o")
    for place, probe in enumerate(out, start=2):
        colour = styles[str(probe.strategy)].colour
        _point(axes, probe, place, colour, _MARKERS[probe.encoder])
    _rows(axes, names)
    _frame(axes, f"Round {server_round}: before, in and after the merge", _WITH_BARS)
    return figure


def _point(axes: Axes, probe: EncoderProbe, place: int, colour: str, marker: str) -> None:
    value = 100 * probe.linear_accuracy
    base = value - probe.above_clients
    axes.plot(
        [base + end for end in probe.examples], [place, place], color=colour, lw=2.2, alpha=0.45
    )
    axes.plot([value], [place], marker, color=colour, ms=7, mec="white", mew=0.8)


def _name(text: str) -> str:
    """Break a name with many fields into lines, so that it leaves room for the numbers."""
    return literal(fill(text, 44))


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_name(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)


def _frame(axes: Axes, title: str, x_label: str) -> None:
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel(x_label)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
