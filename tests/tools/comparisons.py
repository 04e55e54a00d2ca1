"""What the runs of a comparison measured, and what was found."""

import json
from pathlib import Path
from typing import Any

from simulations.record.run_folder import RunFolder


def rows(run: Path) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in row.items() if not k.endswith("seconds")}
        for row in RunFolder(run).read_metrics()
    ]


def findings(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    told = json.loads((out / "summary.json").read_text())
    return {(line["strategy"], *line["values"].values()): line for line in told["findings"]}
