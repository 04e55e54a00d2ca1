"""Experiments, run from a YAML file or a notebook.

A run of minutes::

    from simulations import load_experiment, run

    finished = run(load_experiment("configs/quickstart.yaml"), out="runs/first")
    finished.metrics[-1]["linear_accuracy"]
"""

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedssl.base.config_file import ConfigError
    from simulations.errors import RunError
    from simulations.reports.run_report import report
    from simulations.running.run import run
    from simulations.server.rounds import Run
    from simulations.settings.experiment import Experiment, load_experiment

__all__ = ["ConfigError", "Experiment", "Run", "RunError", "load_experiment", "report", "run"]


def _check_siblings() -> None:
    """Refuse foreign packages that hide those that this one is installed with."""
    home = Path(__file__).resolve().parents[1]
    for name in ("fedssl", "strategies", "clients"):
        spec = importlib.util.find_spec(name)
        if spec and spec.origin and Path(spec.origin).resolve().parents[1] != home:
            raise ImportError(
                f"`{name}` is a package that fedssl needs, but Python finds {spec.origin} in its "
                "place; rename that folder, or start Python elsewhere"
            )


_check_siblings()

_HOMES = {
    "ConfigError": "fedssl.base.config_file",
    "Experiment": "simulations.settings.experiment",
    "Run": "simulations.server.rounds",
    "RunError": "simulations.errors",
    "load_experiment": "simulations.settings.experiment",
    "report": "simulations.reports.run_report",
    "run": "simulations.running.run",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: PyTorch and Flower take seconds to import."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
