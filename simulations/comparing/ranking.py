"""The picture of the strategies' ranks in each cell of the grid."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import rankdata

from simulations.comparing.findings import Finding
from simulations.comparing.plot_style import WIDTH, plot_styles
from simulations.comparing.results import Results
from simulations.comparing.statistics import LEVEL, RESAMPLES
from simulations.reports.fonts import literal


def ranks(results: Results, lines: Sequence[Finding]) -> Figure | None:
    """Draw each strategy's rank by mean final accuracy in each cell, and how sure it is.

    Whiskers hold 95 % of its ranks when the seeds are resampled. Only strategies that have all
    their runs are ranked. None where these, or the cells, are fewer than two.
    """
    plan, styles = results.plan, plot_styles(results.labels)
    of = {
        label: [line for line in lines if line.strategy == label]
        for label in results.labels
        if label in plan.strategies
    }
    labels = [n for n, lines in of.items() if all(len(x.seeds) == len(plan.seeds) for x in lines)]
    if len(labels) < 2 or len(plan.cells) < 2:
        return None
    # [strategies, cells, seeds]
    by_seed = np.array([[line.by_seed for line in of[label]] for label in labels])
    accuracies = plan.metric.sign * by_seed
    mean = _rank(accuracies)
    low, high = _whiskers(accuracies, mean)
    figure = Figure(figsize=(WIDTH, 1.4 + 0.38 * len(labels)), layout="constrained")
    axes = figure.subplots()
    for place, label in enumerate(labels):
        style = styles[label]
        x = np.arange(len(plan.cells)) + 0.4 * ((place + 0.5) / len(labels) - 0.5)
        axes.vlines(x, low[place], high[place], color=style.colour, lw=1.2, alpha=0.6)
        axes.plot(
            x,
            mean[place],
            color=style.colour,
            linestyle=style.style,
            marker=style.marker,
            ms=7,
            lw=1.5,
        )
    axes.set_xlim(-0.4, len(plan.cells) - 0.6)
    axes.set_ylim(len(labels) + 0.5, 0.5)
    axes.set_yticks(range(1, len(labels) + 1))
    axes.set_ylabel("rank by mean final accuracy")
    fields = "\n".join(map(literal, plan.vary))
    axes.set_xticks(
        range(len(plan.cells)), ["\n".join(map(literal, c.values())) for c in plan.cells]
    )
    axes.set_xlabel(fields)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    ends = axes.twinx()
    ends.set_ylim(axes.get_ylim())
    named = sorted(set(mean[:, -1]))
    together = [
        [n for n, rank in zip(labels, mean[:, -1], strict=True) if rank == r] for r in named
    ]
    ends.set_yticks(named, [literal("\n".join(names)) for names in together])
    ends.tick_params(length=0)
    ends.spines[:].set_visible(False)
    return figure


def _rank(accuracies: np.ndarray) -> np.ndarray:
    """Return ranks by the mean over the last axis, from 1 for the highest, float [strategies, …].

    Equal means share theirs; they are equal where they differ by rounding alone.
    """
    ranked: np.ndarray = rankdata(-accuracies.mean(axis=-1).round(9), axis=0)
    return ranked


def _whiskers(accuracies: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return between which ranks 95 % lie when the seeds are resampled, the same for all."""
    seeds = accuracies.shape[-1]
    draws = np.random.default_rng(0).integers(seeds, size=(RESAMPLES, seeds))
    ranked = _rank(accuracies[..., draws])
    ends = np.quantile(ranked, [LEVEL / 2, 1 - LEVEL / 2], axis=-1, method="inverted_cdf")
    return np.minimum(ends[0], mean), np.maximum(ends[1], mean)
