"""Runs: what two have in common, and how one is stopped."""

import json
from pathlib import Path
from typing import Any

from simulations.progress.display import QuietDisplay
from simulations.record.client_result import ClientResult


def read_rows(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if not k.endswith("seconds")} for line in lines
    ]


def same_result(one: Path, other: Path) -> bool:
    return (
        (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
        and read_rows(one) == read_rows(other)
        and (one / "divergence.csv").read_bytes() == (other / "divergence.csv").read_bytes()
    )


class StopsAfter(QuietDisplay):
    """Presses Ctrl-C when a client of the round after the given one has answered."""

    def __init__(self, server_round: int):
        self.last = server_round
        self.now = 0

    def on_round_start(self, server_round: int, cohort: object) -> None:
        self.now = server_round

    def on_client_result(self, result: ClientResult) -> None:
        if self.now > self.last:
            raise KeyboardInterrupt
