"""The findings as files for other tools: CSV, JSON, Markdown and LaTeX."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from simulations.comparing import statistics
from simulations.comparing.findings import Finding
from simulations.comparing.metric import LINEAR, Metric
from simulations.comparing.results import SUMS, Results
from simulations.comparing.tables import ACCURACY_COLUMNS, Show, cell_name, notes
from simulations.record.metric_names import ALWAYS, extra_metrics


def as_json(results: Results, lines: Sequence[Finding]) -> str:
    """Return all findings as JSON."""
    plan = results.plan
    values: dict[str, Any] = {
        "plan": plan.model_dump(mode="json", exclude={"runs", "tuning"}),
        "smallest_p_of_sign_flips": statistics.smallest_p(len(plan.seeds)),
        "runs_done": list(results.progress()),
        "failures": dict(results.failures()),
        "findings": [asdict(line) for line in lines],
        "notes": notes(plan, lines),
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def as_csv(results: Results) -> str:
    """Return every run's rounds as CSV: a row a strategy, cell, seed and round.

    Its columns are what is varied, every measure that a run has, and what each round cost.
    """
    plan = results.plan
    every = [
        ((label, *cell.values(), seed), row)
        for cell in plan.cells
        for label in results.labels
        for seed in plan.seeds
        for row in results.of(label, cell, seed).rows
    ]
    asked = dict.fromkeys(name for _, row in every for name in extra_metrics(row))
    columns = ("round", *ALWAYS, *asked, *SUMS)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["strategy", *plan.vary, "seed", *columns])
    writer.writerows([*place, *(row.get(name, "") for name in columns)] for place, row in every)
    return text.getvalue()


_SHORT = (
    "strategy",
    "accuracy (%)",
    "difference (points)",
    "interval over seeds",
    "over test examples",
    "p (Holm)",
    "verdict",
)
"""The columns of the tables that are for print."""


def _short(metric: Metric) -> dict[str, Show]:
    shows = [ACCURACY_COLUMNS[name].show for name in _SHORT]
    heads = {"accuracy (%)": metric.heading, "difference (points)": metric.difference}
    return dict(zip((heads.get(name, name) for name in _SHORT), shows, strict=True))


def as_markdown(lines: Sequence[Finding], metric: Metric = LINEAR) -> str:
    """Return the table of accuracies in Markdown, a section for each cell."""
    text = []
    for cell, group in groupby(lines, key=lambda line: cell_name(line.values)):
        text += [f"### {cell}", ""] if cell else []
        text.append(_markdown_row(list(_short(metric))))
        text.append(
            _markdown_row([":--" if n in ("strategy", "verdict") else "--:" for n in _SHORT])
        )
        shows = _short(metric).values()
        text += [_markdown_row([show(line) for show in shows]) for line in group]
        text.append("")
    return "\n".join(text)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def as_latex(lines: Sequence[Finding], metric: Metric = LINEAR) -> str:
    """Return the table of accuracies as a LaTeX tabular that needs no package."""
    form = "".join("l" if name in ("strategy", "verdict") else "r" for name in _SHORT)
    text = [rf"\begin{{tabular}}{{{form}}}", r"\hline"]
    text += [_latex_row(list(_short(metric))), r"\hline"]
    for cell, group in groupby(lines, key=lambda line: cell_name(line.values)):
        if cell:
            text.append(rf"\multicolumn{{{len(_SHORT)}}}{{l}}{{\textit{{{_latex(cell)}}}}} \\")
        shows = _short(metric).values()
        text += [_latex_row([show(line) for show in shows]) for line in group]
        text.append(r"\hline")
    return "\n".join([*text, r"\end{tabular}", ""])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


_LATEX = {"±": r"$\pm$", "–": "--", "\\": r"\textbackslash{}", "<": "$<$", ">": "$>$"}
_LATEX |= {letter: "\\" + letter for letter in "&%$#_{}"} | {"~": r"\~{}", "^": r"\^{}"}


def _latex(text: str) -> str:
    signed = re.sub(r"(?<![\w.])-(?=\d)", "−", text)
    return "".join({**_LATEX, "−": "$-$"}.get(letter, letter) for letter in signed)
