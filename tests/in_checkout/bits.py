"""Say what a checkout has, and run experiments with it."""

import contextlib
import importlib
import sys
from pathlib import Path
from typing import Any


def answer(question: dict[str, Any]) -> object:
    """Return what there is, or run a config into a folder."""
    if question["what"] == "offered":
        return offered()
    run(question["config"], question["out"])
    return None


def offered() -> dict[str, list[str]]:
    """Return the names of all that an experiment on images can be made of."""
    image = "fedssl.modalities.image"
    encoders = _table("ENCODERS", "fedssl.encoders", f"{image}.encoders")
    measures = _table("MEASURES", "fedssl.evaluation")
    return {
        "objective": list(_table("OBJECTIVES", "fedssl.objectives")),
        "strategy": list(_table("STRATEGIES", "strategies")),
        "views": list(_table("POLICIES", "fedssl.views", f"{image}.views.policies")),
        "term": list(_table("TERMS", "fedssl.objectives")),
        "encoder": [n for n in encoders if "/" not in n],
        "partition": list(_table("PARTITIONS", "fedssl.partitions")),
        "measure": [name for name, measure in measures.items() if measure.of_a_round],
    }


def _table(name: str, *modules: str) -> Any:
    """Return a table from the first of the modules that has it: some have moved."""
    for module in modules:
        with contextlib.suppress(ModuleNotFoundError, AttributeError):
            return getattr(importlib.import_module(module), name)
    raise LookupError(f"no {name} in {' or '.join(modules)}")


def run(config: str, out: str) -> None:
    """Run an experiment by the public API, but without the pictures of its report."""
    simulations = importlib.import_module("simulations")
    home = sys.modules[simulations.run.__module__]
    for module in (home, sys.modules.get("simulations.server.rounds")):
        if hasattr(module, "report"):
            # It takes longer than a small run.
            vars(module)["report"] = lambda folder: None
    simulations.run(simulations.load_experiment(Path(config)), out)
