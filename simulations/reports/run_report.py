"""A run's report: its plots, and one self-contained page."""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedssl.base.config_file import ConfigError, parse_yaml
from fedssl.base.plain_files import read_text
from fedssl.base.printable import printable
from fedssl.modalities import noun_of
from fedssl.partitions import Counts
from simulations.record.client_names import read_client_names
from simulations.record.files import replace_text
from simulations.record.metric_names import (
    duration,
    extra_metrics,
    format_metric,
    metric_label,
    size,
)
from simulations.record.run_folder import RunFolder
from simulations.record.subfolders import make_inside
from simulations.record.tables import MEND, Divergence, Row, read_divergence, read_partition
from simulations.reports import plots
from simulations.reports.fonts import number_legend
from simulations.reports.page import render_page
from simulations.reports.run_page import PAGE
from simulations.setup.notes import read_cautions

MOST_FAILURES = 100
"""The most failed clients that the page lists; ``metrics.jsonl`` has them all."""
_TITLES = {
    "progress": "Progress",
    "partition": "Who has which {examples}",
    "divergence": "Divergence by layer",
}


@dataclass(frozen=True)
class Records:
    """The content of a run folder that a report needs."""

    config_text: str
    config: Mapping[str, Any]
    rows: list[Row]
    summary: Mapping[str, Any] | None
    counts: Counts
    class_names: list[str]
    divergence: Divergence
    client_names: list[str]
    cautions: list[str]

    @property
    def noun(self) -> str:
        """The noun for examples, such as images."""
        data = self.config.get("data")
        modality = data.get("modality", "image") if isinstance(data, Mapping) else None
        return noun_of(modality)[1]


def report(folder: Path) -> Path:
    """Write a run's plots and ``report.html``, from the files of its folder alone.

    The page contains its pictures and fetches nothing. The run may still go on, or may have been
    interrupted: the page then says how far it came. The accuracy in the headline is that of the
    last evaluated round, never of the best.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ConfigError
        The folder is no run folder, or a file in it is missing or cannot be read.

    Examples
    --------
    With the folder of a run::

        page = report(Path("runs/quickstart"))
    """
    folder = Path(folder)
    records = read_records(folder)
    pictures = {}
    drawn = make_inside(folder / "plots")
    for name, figure in _figures(records).items():
        file = drawn / f"{name}.png"
        plots.save(figure, file)
        title = _TITLES[name].format(examples=records.noun)
        pictures[title] = base64.b64encode(file.read_bytes()).decode()
    page = render_page(
        PAGE,
        # A folder's name need be no text.
        title=os.fsencode(folder.resolve().name).decode(errors="replace"),
        subtitle=_subtitle(records.config),
        unfinished=_unfinished(records),
        cautions=records.cautions,
        headline=_headline(records),
        pictures=pictures,
        numbered=number_legend(records.class_names),
        columns=_columns(records.rows),
        rows=records.rows,
        failures=_failures(records.rows),
        most_failures=MOST_FAILURES,
        summary=records.summary,
        config=records.config_text,
    )
    path = folder / "report.html"
    replace_text(path, page)
    return path


def _figures(records: Records) -> dict[str, Figure]:
    figures = {"progress": plots.progress(records.rows)}
    if len(records.counts.client):
        counts, names = _without_gaps(records.counts, records.client_names)
        figures["partition"] = plots.partition(counts, records.class_names, names, records.noun)
    divergence = records.divergence
    if divergence.rounds:
        figures["divergence"] = plots.divergence(
            divergence.deltas, divergence.tensors, divergence.rounds
        )
    return figures


def _without_gaps(counts: Counts, names: Sequence[str]) -> tuple[Counts, Sequence[str]]:
    """Return the counts of the clients that have examples, and the labels of these clients."""
    there = np.unique(counts.client)
    if len(there) == counts.shape[0]:
        return counts, names
    labels = [names[client] if client < len(names) else str(client) for client in there]
    shape, places = (len(there), counts.shape[1]), np.searchsorted(there, counts.client)
    return Counts(shape, places, counts.label, counts.examples), labels


def _subtitle(config: Mapping[str, Any]) -> str:
    parts = [
        _value(config, "objective", "name"),
        _value(config, "strategy", "name"),
        _value(config, "model", "encoder", "name") or _value(config, "model", "encoder"),
        f"{_value(config, 'partition', 'name')} partition",
        f"seed {_value(config, 'seed')}",
    ]
    return " · ".join(part for part in parts if part)


def _value(config: Any, *place: str) -> str | None:
    """Return a value of a config, which may be of another version."""
    for key in place:
        config = config.get(key) if isinstance(config, Mapping) else None
    return None if config is None else str(config)


def _unfinished(records: Records) -> str | None:
    done, planned = records.rows[-1]["round"], records.config.get("rounds")
    if isinstance(planned, int) and done < planned:
        return f"{done} of {planned} rounds are done: the figures are those so far."
    return None


def _headline(records: Records) -> list[tuple[str, str, str]]:
    """Return the page's tiles: label, number, and a note."""
    rows = records.rows
    tiles = []
    for key, name in (("linear_accuracy", "linear accuracy"), ("knn_accuracy", "kNN accuracy")):
        evaluated = [row for row in rows if row.get(key) is not None]
        if not evaluated:
            continue
        first, last = evaluated[0], evaluated[-1]
        note = f"after round {last['round']}"
        tiles.append((name.replace("linear", "Linear"), format_metric(key, last[key]), note))
        if last is not first:
            gain = f"{100 * (last[key] - first[key]):+.1f}"
            note = f"points, from {format_metric(key, first[key])} in round {first['round']}"
            tiles.append((f"Gain in {name}", gain, note))
    failed = sum(len(row["failed"]) for row in rows)
    updates = sum(len(row["cohort"]) for row in rows)
    up, down = (sum(row[key] for row in rows) for key in ("bytes_up", "bytes_down"))
    seconds = sum(row["seconds"] for row in rows)
    return [
        *tiles,
        ("Rounds", f"{rows[-1]['round']:,}", f"{updates:,} client updates, {failed:,} failed"),
        (
            "Clients",
            f"{len(np.unique(records.counts.client)):,}",
            f"{int(records.counts.examples.sum()):,} {records.noun}",
        ),
        ("Traffic", size(up + down), f"{size(up)} up, {size(down)} down"),
        ("Time", duration(seconds), "training and evaluation"),
    ]


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return the table's columns: heading, and the cells in the order of the rows."""
    headings = {
        "train_loss": "Training loss",
        "linear_accuracy": "Linear",
        "linear_accuracy_recalibrated": "Recalibrated",
        "knn_accuracy": "kNN",
        "rankme": "RankMe",
        "bytes_up": "Up",
        "bytes_down": "Down",
        "seconds": "Time",
    }
    headings |= {key: metric_label(key).capitalize() for row in rows for key in extra_metrics(row)}
    columns = [
        ("Round", [str(row["round"]) for row in rows]),
        ("Clients", [str(len(row["cohort"])) for row in rows]),
        ("Failed", [str(len(row["failed"]) or "–") for row in rows]),
    ]
    for key, heading in headings.items():
        values = [row.get(key) for row in rows]
        if any(value is not None for value in values):
            columns.append((heading, ["–" if v is None else format_metric(key, v) for v in values]))
    if any("clipped" in row for row in rows):
        columns.append(("Clipped", [str(row.get("clipped") or "–") for row in rows]))
    return columns


def _failures(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, str, str]]:
    """Return round, client and reason of each failed client whose reason was recorded."""
    return [
        (row["round"], str(client), printable(str(reason)))
        for row in rows
        for client, reason in row.get("failed_reasons", {}).items()
    ]


def read_records(folder: Path) -> Records:
    """Read the files that a report needs, as far as they are complete.

    Raises
    ------
    ConfigError
        A file is missing or cannot be read; see `report`.
    """
    files = RunFolder(folder)
    # A link that leads nowhere is there, too, and an error names it.
    if not all(os.path.lexists(file) for file in (files.config, files.metrics)):
        raise ConfigError(
            f"{folder} is no run folder: it lacks config.yaml or metrics.jsonl; "
            "give the folder that `fedssl run` wrote"
        )
    text = read_text(files.config)
    config = parse_yaml(text, str(files.config))
    if not isinstance(config, dict):
        raise ConfigError(f"{files.config}: cannot be read: it holds no config; {MEND}")
    rows = files.read_finished()
    if not rows:
        raise ConfigError(
            f"{files.metrics} has no row yet: wait until the untrained encoder is evaluated"
        )
    counts, class_names = read_partition(files.partition)
    return Records(
        text,
        config,
        rows,
        files.read_summary(),
        counts,
        class_names,
        read_divergence(files.divergence, rows[-1]["round"]),
        read_client_names(files.partition),
        read_cautions(folder),
    )
