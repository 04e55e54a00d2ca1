"""Write what a comparison found: tables, pictures, and one self-contained page."""

import base64
import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console

from simulations.comparing import (
    client_pictures,
    divergence_pictures,
    exports,
    pictures,
    ranking,
    tables,
)
from simulations.comparing.findings import Finding, findings
from simulations.comparing.folder import ComparisonFolder
from simulations.comparing.page import PAGE, SCRIPT, SCRIPT_HASH
from simulations.comparing.plan import Plan
from simulations.comparing.results import Results
from simulations.comparing.tables import cell_name
from simulations.progress.terminal import Terminal
from simulations.record.files import replace_text
from simulations.record.subfolders import make_inside
from simulations.reports import plots
from simulations.reports.fonts import number_legend
from simulations.reports.page import render_page

_CAPTIONS = {
    "differences": (
        "Difference to the baseline",
        "Markers: mean over seeds. Ticks: each seed. Bars: paired 95 % t interval over seeds, cut "
        "where the picture ends. Thin lines below: 95 % when the test examples are drawn anew. "
        "Grey: where strategies count as equivalent.",
    ),
    "final": (
        "Final accuracy",
        "Markers: mean over seeds. Ticks: each seed. Bars: 95 % t interval, cut where the picture "
        "ends. Dotted: the baseline's mean. Runs are paired by seed, so intervals that overlap do "
        "not mean that there is no difference: see the table.",
    ),
    "ranks": (
        "Ranking from cell to cell",
        "Lines: the rank of each strategy's mean over seeds; 1 is the most accurate. Whiskers: "
        "where 95 % of its ranks lie when the seeds are drawn anew, which few seeds make too "
        "short; where they overlap, the order is not settled. Ranks do not tell how far apart "
        "strategies are: see the differences. Only strategies with all their runs are ranked.",
    ),
    "by-round": (
        "Accuracy by round",
        "Lines: mean over seeds. Bands: from the lowest seed to the highest.",
    ),
    "by-bytes": (
        "Accuracy against bytes",
        "Mean over seeds, against all models that travelled until then.",
    ),
    "by-layer": (
        "δ by layer and round",
        "δ is the cosine between a client's tensor, after its local steps, and the global one that "
        "it began with. Yellow: hardly turned. Dark: turned far. Rows: tensors in the model's "
        "order. Columns: the rounds that were evaluated. Grey: no δ.",
    ),
    "by-client": (
        "Who has which examples, and how far that turns the weights",
        "One seed's runs, since other seeds share the examples out otherwise. Left: each client's "
        "examples by class, the most skewed mixture on top. Right: its mean 1 − δ over the rounds "
        "it took part in and the encoder's trained tensors, without BatchNorm's statistics. "
        "Whoever has more examples makes more steps, and so turns further: compare clients of "
        "about one size.",
    ),
}
"""The title of each picture, and how to read it."""

_WIDTH = 200
"""Columns that the tables need."""


def report(out: Path, console: Console | None = None) -> Path:
    """Write ``results.csv``, ``summary.json``, both tables, ``plots/`` and ``report.html``.

    Runs that are missing may still be made: the page then says so.

    Parameters
    ----------
    out : Path
        The folder of a comparison.
    console : Console | None
        Where the tables are printed, too.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ConfigError
        It is no comparison's, or a file in it cannot be read.

    Examples
    --------
    With the folder of a comparison::

        page = report(Path("runs/first-comparison"))
    """
    folder = ComparisonFolder(Path(out))
    plan = folder.plan.read()
    results = Results(folder, plan)
    lines = findings(results)
    for name, text in (
        ("results.csv", exports.as_csv(results)),
        ("summary.json", exports.as_json(results, lines)),
        ("table.md", exports.as_markdown(lines, plan.metric)),
        ("table.tex", exports.as_latex(lines, plan.metric)),
    ):
        replace_text(folder.path / name, text)
    if console:
        # Figures are never cut: a narrower terminal wraps the lines.
        wide = Terminal(file=console.file, width=max(console.width, _WIDTH))
        for part in tables.as_tables(lines, plan.metric):
            wide.print(part)
            wide.print()
        for note in tables.notes(plan, lines):
            console.print(note, markup=False, style="dim", soft_wrap=not console.is_terminal)
        for name, reason in results.failures():
            console.print(f"{name} failed: {reason}", markup=False, style="bold", soft_wrap=True)
    return _write_page(folder, results, lines)


def _write_page(folder: ComparisonFolder, results: Results, lines: Sequence[Finding]) -> Path:
    plan = results.plan
    drawn = make_inside(folder.path / "plots")
    figures, shown = _figures(results, lines), {}
    for name, (heading, caption) in _CAPTIONS.items():
        file = drawn / f"{name}.png"
        if name in figures:
            plots.save(figures[name], file)
            if name == "by-client":
                caption = f"{caption} {number_legend(client_pictures.classes_of(results))}".rstrip()
            shown[heading] = caption, base64.b64encode(file.read_bytes()).decode()
        else:
            file.unlink(missing_ok=True)
    done, planned = results.progress()
    titles = ("Accuracy" if plan.metric.labels else plan.metric.name), "Cost"
    page = render_page(
        PAGE,
        script=SCRIPT,
        script_hash=SCRIPT_HASH,
        # A folder's name need be no text.
        title=os.fsencode(folder.path.resolve().name).decode(errors="replace"),
        subtitle=_subtitle(plan),
        unfinished=f"{done} of {planned} runs are done." if done < planned else None,
        failures=results.failures(),
        sentences=sentences(plan, lines),
        pictures=shown,
        tables=[
            (title, list(columns), _cells(lines, columns))
            for title, columns in zip(titles, tables.columns_of(plan.metric), strict=True)
        ],
        notes=tables.notes(plan, lines),
        tuned=folder.read_tuning(),
        plan=folder.plan.read_text(),
    )
    path = folder.path / "report.html"
    replace_text(path, page)
    return path


def _figures(results: Results, lines: Sequence[Finding]) -> dict[str, Figure]:
    """Return the pictures of what there is, in the order of the page."""
    if not any(line.by_seed for line in lines):
        return {}
    figures = {
        "differences": pictures.differences(results, lines),
        "final": pictures.final(results, lines),
        "ranks": ranking.ranks(results, lines),
        "by-round": pictures.by_round(results),
        "by-bytes": pictures.by_bytes(results),
        "by-layer": divergence_pictures.by_layer(results),
        "by-client": client_pictures.by_client(results),
    }
    return {name: figure for name, figure in figures.items() if figure}


def _subtitle(plan: Plan) -> str:
    parts = [
        Path(plan.config).name,
        " ".join(plan.overrides),
        f"{len(plan.strategies)} strategies",
        f"seeds {plan.seeds[0]} to {plan.seeds[-1]}",
        f"baseline {plan.baseline}",
    ]
    return " · ".join(part for part in parts if part)


_Rows = list[tuple[bool, list[tuple[str, str]]]]
"""Each row: whether it is the baseline's, and what its cells show and are sorted by."""


def _cells(
    lines: Sequence[Finding], columns: Mapping[str, tables.Column]
) -> list[tuple[str, _Rows]]:
    def row(line: Finding) -> list[tuple[str, str]]:
        return [(column.show(line), column.order(line)) for column in columns.values()]

    return [
        (cell, [(line.is_baseline, row(line)) for line in group])
        for cell, group in groupby(lines, key=lambda line: cell_name(line.values))
    ]


def sentences(plan: Plan, lines: Sequence[Finding]) -> list[str]:
    """Say each declared comparison in a sentence."""
    said = []
    for line in lines:
        found = line.difference
        if not line.in_family or found is None:
            continue
        where = f" at {cell_name(line.values)}" if line.values else ""
        seeds = tables.interval((found.estimate.low, found.estimate.high))
        said.append(
            f"{line.strategy} against {plan.baseline}{where}: "
            f"{tables.points(found.estimate.mean)} {plan.metric.unit} (over seeds {seeds}, over "
            f"test examples {tables.interval(found.examples)}; adjusted p "
            f"{tables.probability(found.p_adjusted)}): {line.verdict}."
        )
    return said
