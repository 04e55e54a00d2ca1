"""The bench's measurements as a table and as JSON, with the machine that they were measured on."""

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

from simulations.bench.measurement import Measurement


def machine() -> dict[str, Any]:
    """Return the machine and the versions that the measurements depend on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("fedssl", "torch", "flwr", "numpy")},
    }


def as_json(measurements: Sequence[Measurement]) -> str:
    """Return the machine and the measurements as JSON."""
    content = {
        "machine": machine(),
        "figures": [measurement.to_json() for measurement in measurements],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def as_table(measurements: Sequence[Measurement]) -> Table:
    """Return the measurements as a table, each with its unit and its reference below its name."""
    properties = machine()
    title = f"{properties['cpu']}, {properties['cores']} cores, {properties['gpu'] or 'no GPU'}"
    table = Table(
        title=f"{title}, torch {properties['torch']}",
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
    )
    table.add_column("figure", min_width=26, ratio=1)
    for name in ("ours", "reference", "ratio", "target", "met"):
        table.add_column(name, justify="right", no_wrap=True)
    for measurement in measurements:
        measured = measurement.value is not None
        against = "; reference: " if measurement.reference is not None else "; " if measured else ""
        unit, note = measurement.unit if measured else "", measurement.note
        below = f"{unit}{against if note else ''}{note}"
        spread = f" ±{measurement.spread:.0%}" if measurement.spread is not None else ""
        table.add_row(
            f"{measurement.name}\n[dim]{below}[/]",
            _number(measurement.value) if measured else "–",
            _number(measurement.reference),
            f"{measurement.ratio:.2f}{spread}" if measurement.ratio is not None else "",
            measurement.target.short() if measurement.target else "",
            {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[measurement.met],
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
