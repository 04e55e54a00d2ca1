"""The summary of a finished run: ``summary.json``."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch

from simulations.record.metric_names import description_of
from simulations.settings.experiment import Experiment

_ROUND_COLUMNS = ("cohort", "failed", "failed_reasons", "clipped")


def summarise(experiment: Experiment, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the last round's metrics, the totals of all rounds, and the software versions.

    Parameters
    ----------
    experiment : Experiment
        The resolved config.
    rows : Sequence[dict]
        The rows of ``metrics.jsonl``, from round 0 to the last.
    """
    last = {k: v for k, v in rows[-1].items() if k not in _ROUND_COLUMNS}
    clips = experiment.strategy.max_update_norm is not None
    totals = ("bytes_up", "bytes_down", "seconds", "client_seconds", "merge_seconds")
    device = experiment.engine.device
    return {
        "rounds": last.pop("round"),
        "final": {
            k: v for k, v in last.items() if description_of(k).unit not in ("bytes", "seconds")
        },
        "untrained": {k: rows[0][k] for k in last if description_of(k).untrained and k in rows[0]},
        "total": {
            **{key: round(sum(row.get(key, 0) for row in rows), 3) for key in totals},
            "failed": sum(len(row["failed"]) for row in rows),
            **({"clipped": sum(row.get("clipped", 0) for row in rows)} if clips else {}),
        },
        "seed": experiment.seed,
        "strategy": experiment.strategy.name,
        "objective": experiment.objective.name,
        "device": torch.cuda.get_device_name()
        if device == "cuda"
        else platform.processor() or "cpu",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("fedssl", "torch", "torchvision", "flwr", "numpy")},
        },
    }
