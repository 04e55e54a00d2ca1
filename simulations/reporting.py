"""A run's report: its plots, and one self-contained page."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from fedssl.config_file import ConfigError
from fedssl.partitions import Counts
from simulations import plots
from simulations.figures import further, name_of, shown
from simulations.files import replace_text
from simulations.fonts import numbers_told
from simulations.records import Divergence, read_divergence, read_partition, whole_lines
from simulations.report_page import PAGE, STYLE

_TITLES = {
    "progress": "Progress",
    "partition": "Who has which images",
    "divergence": "Divergence by layer",
}


@dataclass(frozen=True)
class _Records:
    """What a run folder tells of the run."""

    config_text: str
    config: Mapping[str, Any]
    rows: list[dict[str, Any]]
    summary: Mapping[str, Any] | None
    counts: Counts
    class_names: list[str]
    divergence: Divergence


def report(folder: Path) -> Path:
    """Write a run's plots and ``report.html``, from the files of its folder alone.

    The page holds its pictures and fetches nothing. The run may still be going on, or may have been
    interrupted: the page then says how far it came. The accuracy in the headline is that of the
    last evaluated round, never of the best.

    Parameters
    ----------
    folder : Path
        A run folder.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ConfigError
        It is no run folder, or a file in it is missing or cannot be read.
    """
    folder = Path(folder)
    records = _read(folder)
    pictures = {}
    (folder / "plots").mkdir(exist_ok=True)
    for name, figure in _figures(records).items():
        image = folder / "plots" / f"{name}.png"
        plots.save(figure, image)
        pictures[_TITLES[name]] = base64.b64encode(image.read_bytes()).decode()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    page = environment.from_string(PAGE).render(
        style=STYLE,
        title=folder.resolve().name,
        subtitle=_subtitle(records.config),
        unfinished=_unfinished(records),
        headline=_headline(records),
        pictures=pictures,
        numbered=numbers_told(records.class_names),
        columns=_columns(records.rows),
        rows=records.rows,
        summary=records.summary,
        config=records.config_text,
    )
    path = folder / "report.html"
    replace_text(path, page)
    return path


def _figures(records: _Records) -> dict[str, Figure]:
    figures = {"progress": plots.progress(records.rows)}
    if len(records.counts.client):
        figures["partition"] = plots.partition(records.counts, records.class_names)
    found = records.divergence
    if found.rounds:
        figures["divergence"] = plots.divergence(found.deltas, found.tensors, found.rounds)
    return figures


def _subtitle(config: Mapping[str, Any]) -> str:
    parts = [
        config.get("objective", {}).get("name"),
        config.get("strategy", {}).get("name"),
        config.get("model", {}).get("encoder"),
        f"{config.get('partition', {}).get('name')} partition",
        f"seed {config.get('seed')}",
    ]
    return " · ".join(str(part) for part in parts if part)


def _unfinished(records: _Records) -> str | None:
    done, planned = records.rows[-1]["round"], records.config.get("rounds")
    if isinstance(planned, int) and done < planned:
        return f"{done} of {planned} rounds are done: the figures are those so far."
    return None


def _headline(records: _Records) -> list[tuple[str, str, str]]:
    """Return the tiles: label, figure, and a note."""
    rows = records.rows
    tiles = []
    for key, name in (("linear_accuracy", "linear accuracy"), ("knn_accuracy", "kNN accuracy")):
        evaluated = [row for row in rows if row.get(key) is not None]
        if not evaluated:
            continue
        first, last = evaluated[0], evaluated[-1]
        note = f"after round {last['round']}"
        tiles.append((name.replace("linear", "Linear"), _percent(last[key]), note))
        if last is not first:
            gain = f"{100 * (last[key] - first[key]):+.1f}"
            note = f"points, from {_percent(first[key])} in round {first['round']}"
            tiles.append((f"Gain in {name}", gain, note))
    failed = sum(len(row["failed"]) for row in rows)
    updates = sum(len(row["cohort"]) for row in rows)
    up, down = (sum(row[key] for row in rows) for key in ("bytes_up", "bytes_down"))
    seconds = sum(row["seconds"] for row in rows)
    return [
        *tiles,
        ("Rounds", f"{rows[-1]['round']:,}", f"{updates:,} client updates, {failed:,} failed"),
        ("Clients", f"{records.counts.shape[0]:,}", f"{int(records.counts.images.sum()):,} images"),
        ("Traffic", size(up + down), f"{size(up)} up, {size(down)} down"),
        ("Time", _duration(seconds), "training and evaluation"),
    ]


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return the table's columns: heading, and the cells in the order of the rows."""
    formats = {
        "train_loss": ("Training loss", _number),
        "linear_accuracy": ("Linear", _percent),
        "linear_accuracy_recalibrated": ("Recalibrated", _percent),
        "knn_accuracy": ("kNN", _percent),
        "rankme": ("RankMe", _number),
        "bytes_up": ("Up", size),
        "bytes_down": ("Down", size),
        "seconds": ("Time", _duration),
    }
    columns = [
        ("Round", [str(row["round"]) for row in rows]),
        ("Clients", [str(len(row["cohort"])) for row in rows]),
        ("Failed", [str(len(row["failed"]) or "–") for row in rows]),
    ]
    for key, (heading, form) in formats.items():
        values = [row.get(key) for row in rows]
        if any(value is not None for value in values):
            columns.append((heading, ["–" if v is None else form(v) for v in values]))
    for key in dict.fromkeys(key for row in rows for key in further(row)):
        values = [row.get(key) for row in rows]
        heading = name_of(key).capitalize()
        columns.append((heading, ["–" if v is None else shown(key, v) for v in values]))
    return columns


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _number(value: float) -> str:
    return f"{value:.4g}"


def size(count: float) -> str:
    """Return a number of bytes with a decimal unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _read(folder: Path) -> _Records:
    if not (folder / "config.yaml").is_file() or not (folder / "metrics.jsonl").is_file():
        raise ConfigError(
            f"{folder} is no run folder: it lacks config.yaml or metrics.jsonl; "
            "give the folder that `fedssl run` wrote"
        )
    text = (folder / "config.yaml").read_text(encoding="utf-8")
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{folder / 'config.yaml'} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{folder / 'config.yaml'} cannot be read: it holds no config")
    counts, class_names = read_partition(folder / "partition.csv")
    return _Records(
        text,
        config,
        _read_rows(folder / "metrics.jsonl"),
        _read_summary(folder / "summary.json"),
        counts,
        class_names,
        read_divergence(folder / "divergence.csv"),
    )


def _read_rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(whole_lines(path), start=1):
        try:
            row = json.loads(line)
            row["round"], row["cohort"], row["failed"], row["seconds"]
            row["bytes_up"], row["bytes_down"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}, line {number}, is no row of metrics: {error!r}") from error
        rows.append(row)
    if not rows:
        raise ConfigError(f"{path} has no row yet: wait until the untrained encoder is evaluated")
    return rows


def _read_summary(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return summary if isinstance(summary, dict) else None
