"""The bench's figures as a table and as JSON, with the machine that they were measured on."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
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
    """Return the figures as a table; their notes stand below the names."""
    about = machine()
    title = f"{about['cpu']}, {about['cores']} cores, {about['gpu'] or 'no GPU'}"
    table = Table(title=f"{title}, torch {about['torch']}", title_justify="left", pad_edge=False)
    table.add_column("figure", ratio=1)
    for name in ("ours", "reference", "ratio", "spread", "target", "met"):
        table.add_column(name, justify="right", no_wrap=True)
    for figure in figures:
        name = f"{figure.name} [dim]({figure.note})[/]" if figure.note else figure.name
        table.add_row(
            name,
            f"{_number(figure.value)} {figure.unit}" if figure.value is not None else "–",
            _number(figure.reference),
            f"{figure.ratio:.2f} ×" if figure.ratio is not None else "",
            f"±{figure.spread:.0%}" if figure.spread is not None else "",
            str(figure.target or ""),
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
