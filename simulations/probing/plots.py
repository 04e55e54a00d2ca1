"""The pictures of probes, each drawn from its measure's results."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedssl.evaluation import MeasureResult
from simulations.record.client_names import short
from simulations.reports.fonts import class_labels, literal
from simulations.reports.plots import CLASS_COLOURS

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#BBBBBB"
_NAMED = 20
"""The most groups that are labelled one by one."""


def picture_of(protocol: str, measured: MeasureResult, noun: str = "examples") -> Figure | None:
    """Draw a measure's results; return None if the numbers say it all.

    ``noun`` is what examples are called.
    """
    draw = _PICTURES.get(protocol)
    return draw(measured, noun) if draw else None


def harm(measured: MeasureResult, noun: str = "examples") -> Figure:
    """Draw the accuracy of each class, and of each client, with the mean over their examples."""
    details = measured.details
    by_client, by_domain = "client_accuracy" in details, "domain_accuracy" in details
    panels = 1 + by_domain + by_client
    figure = Figure(figsize=(1 + 5 * panels, 4.2), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    names = class_labels(details["classes"])
    figures = measured.figures
    worst, gap = figures["worst_class_accuracy"], figures["class_gap"]
    _bars(axes[0], details["class_accuracy"], details["class_examples"], names, worst, gap)
    axes[0].set(title=f"By class, test {noun}", ylabel="accuracy of the linear probe (%)")
    if by_domain:
        domains = [literal(short(name)) for name in details["domains"]]
        worst, gap = figures["worst_domain_accuracy"], figures["domain_gap"]
        _bars(axes[1], details["domain_accuracy"], details["domain_examples"], domains, worst, gap)
        axes[1].set(title=f"By domain, test {noun}")
    if by_client:
        accuracy = details["client_accuracy"]
        numbers = _client_names(details, range(len(accuracy)))
        worst, gap = figures["worst_client_accuracy"], figures["client_gap"]
        _bars(axes[-1], accuracy, details["client_examples"], numbers, worst, gap)
        axes[-1].set(title=f"By client, its own {noun}, held out of the probe", xlabel="client")
    return figure


def _client_names(details: Mapping[str, Any], clients: Sequence[int]) -> list[str]:
    """Return the clients' labels in a picture: their names, or else their numbers."""
    names = details.get("client_names") or list(map(str, clients))
    return [literal(short(name)) for name in names]


def _bars(
    axes: Axes,
    accuracy: Sequence[float | None],
    examples: Sequence[int],
    names: Sequence[str],
    worst: float,
    gap: float,
) -> None:
    values = 100 * np.array([np.nan if a is None else a for a in accuracy], float)
    count = np.asarray(examples)
    known = count > 0
    mean = float(np.average(values[known], weights=count[known]))
    if len(values) > _NAMED:
        # In order: with many, who is where matters less than how many are badly off.
        values, names = np.sort(values[known]), []
        axes.set_xticks([])
    places = np.arange(len(values))
    colours = [_ORANGE if value == 100 * worst else _BLUE for value in values]
    axes.bar(places, values, color=colours)
    axes.axhline(mean, color="black", linewidth=1, linestyle="--", label=f"all: {mean:.1f} %")
    axes.plot([], [], " ", label=f"gap: {100 * gap:.1f} points")
    if names:
        axes.set_xticks(places, names, rotation=0 if max(map(len, names)) < 4 else 60)
    axes.legend(frameon=False, fontsize="small")
    axes.set_ylim(0, 109)
    axes.spines[["top", "right"]].set_visible(False)


def cka(measured: MeasureResult, noun: str = "examples") -> Figure:
    """Draw the similarity of each pair of encoders."""
    details = measured.details
    alike, names = np.array(details["cka"]), ["global", *_client_names(details, details["clients"])]
    size = 2.5 + 0.45 * len(names)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    low = float(np.floor(10 * alike.min()) / 10)
    shown = axes.imshow(alike, vmin=min(low, 0.9), vmax=1, cmap="viridis")
    axes.set_xticks(range(len(names)), names, rotation=60)
    axes.set_yticks(range(len(names)), names)
    axes.set_title("Linear CKA after one local update")
    figure.colorbar(shown, ax=axes)
    return figure


def scatter(measured: MeasureResult, noun: str = "examples") -> Figure:
    """Draw the map twice: coloured by class and by client, if these are known."""
    details = measured.details
    places = np.array(details["places"])
    labels, clients = (np.array(details[key]) for key in ("labels", "clients"))
    kinds: list[tuple[str, np.ndarray, Callable[[int], str]]] = []
    if (labels >= 0).any():
        kinds.append(("class", labels, class_labels(details["classes"]).__getitem__))
    if (clients >= 0).any():
        names = _client_names(details, range(int(clients.max()) + 1))
        kinds.append(("client", clients, lambda n: names[n]))
    if not kinds:
        kinds.append(("example", labels, str))
    figure = Figure(figsize=(6 * len(kinds) + 0.5, 5), layout="constrained")
    for axes, (what, groups, name) in zip(
        figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True
    ):
        _points(axes, places, groups, name)
        axes.set(title=f"Training {noun}, by {what}", xticks=[], yticks=[])
    return figure


def _points(axes: Axes, places: np.ndarray, groups: np.ndarray, name: Callable[[int], str]) -> None:
    distinct, known = np.unique(groups[groups >= 0]), groups >= 0
    x, y = places[:, 0], places[:, 1]
    axes.scatter(x[~known], y[~known], s=5, color=_GREY, linewidths=0)
    if len(distinct) > _NAMED:
        axes.scatter(x[known], y[known], s=5, c=groups[known], cmap="viridis", linewidths=0)
        return
    colours = [*CLASS_COLOURS, *colormaps["tab20"].colors]  # type: ignore[attr-defined]
    for colour, group in zip(colours, distinct, strict=False):
        mine = groups == group
        axes.scatter(x[mine], y[mine], s=5, color=colour, linewidths=0, label=name(int(group)))
    axes.legend(markerscale=3, fontsize="small", frameon=False, loc="center left",
                bbox_to_anchor=(1, 0.5))  # fmt: skip


def selection(measured: MeasureResult, noun: str = "examples") -> Figure:
    """Draw each criterion against the accuracy, with its selection and the best."""
    details = measured.details
    figure = Figure(figsize=(5.5 * len(details), 4.2), layout="constrained")
    for axes, (criterion, result) in zip(
        figure.subplots(1, len(details), squeeze=False)[0], details.items(), strict=True
    ):
        names = result["names"]
        scores, accuracies = np.array(result["scores"]), 100 * np.array(result["accuracies"])
        axes.plot(scores, accuracies, "o", color=_GREY)
        for which, colour, marker in (("best", "black", "*"), ("picked", _ORANGE, "s")):
            place = names.index(result[which])
            axes.plot(scores[place], accuracies[place], marker, color=colour, markersize=10,
                      linestyle="", label=f"{which}: {literal(names[place])}")  # fmt: skip
        axes.set(xlabel=criterion, ylabel="linear accuracy (%)", title=f"What {criterion} picks")
        axes.legend(frameon=False, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def sslmem(measured: MeasureResult, noun: str = "examples") -> Figure:
    """Draw the scores' distribution over candidates, and over examples that no model trained on."""
    details = measured.details
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    groups = (
        ("seen by this run alone", "scores", _BLUE),
        ("seen by neither", "control_scores", _ORANGE),
    )
    both = np.concatenate([details[key] for _, key, _ in groups])
    edges = np.linspace(both.min(), both.max() + 1e-9, 41).tolist()
    for label, key, colour in groups:
        axes.hist(
            details[key], bins=edges, density=True, histtype="step", color=colour, label=label
        )
    axes.set(title="SSLMem, example by example", xlabel="how much is remembered", ylabel="density")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


_PICTURES: dict[str, Callable[[MeasureResult, str], Figure]] = {
    "harm": harm,
    "cka": cka,
    "map": scatter,
    "map-tsne": scatter,
    "map-umap": scatter,
    "selection": selection,
    "sslmem": sslmem,
}
