"""The bench's figures as a table and as JSON, with the machine that they were measured on."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE
from rich.table import Table

from simulations.bench.figure import Figure


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("fedssl", "torch", "flwr", "numpy")},
    }


def as_json(figures: Sequence[Figure]) -> str:
    """Return the machine and the figures as JSON."""
    content = {"machine": machine(), "figures": [figure.to_json() for figure in figures]}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def as_table(figures: Sequence[Figure]) -> Table:
    """Return the figures as a table, each with its unit and its reference below its name."""
    about = machine()
    title = f"{about['cpu']}, {about['cores']} cores, {about['gpu'] or 'no GPU'}"
    table = Table(
        title=f"{title}, torch {about['torch']}", title_justify="left", box=SIMPLE, pad_edge=False
    )
    table.add_column("figure", min_width=26, ratio=1)
    for name in ("ours", "reference", "ratio", "target", "met"):
        table.add_column(name, justify="right", no_wrap=True)
    for figure in figures:
        measured = figure.value is not None
        against = "; reference: " if figure.reference is not None else "; " if measured else ""
        below = f"{figure.unit if measured else ''}{against if figure.note else ''}{figure.note}"
        spread = f" ±{figure.spread:.0%}" if figure.spread is not None else ""
        table.add_row(
            f"{figure.name}\n[dim]{below}[/]",
            _number(figure.value) if measured else "–",
            _number(figure.reference),
            f"{figure.ratio:.2f}{spread}" if figure.ratio is not None else "",
            figure.target.short() if figure.target else "",
            {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[figure.met],
        )
    return table


def _number(value: float | None) -> str:
    if value is None:
        return ""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
