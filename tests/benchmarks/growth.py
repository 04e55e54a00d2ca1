"""How cost grows with the clients per round, the model and the image, and where it bends.

What is expected: the CPU time of a round, and its memory, are a fixed part and a part in proportion
to its clients; a client-round's are in proportion to the model's parameters; and a local update's
are in proportion to an image's pixels, which are the square of its side.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulations.bench.timing import in_fresh_process
from simulations.record.files import replace_text
from simulations.reports.plots import save
from tests.benchmarks import costs
from tests.benchmarks.costs import Cost
from tests.benchmarks.growth_picture import picture
from tests.benchmarks.lines import TOLERANCE
from tests.benchmarks.sweeps import CLIENTS, PARAMETERS, SIDE, Quantity, Sweep


@dataclass(frozen=True)
class _Step:
    quantity: Quantity
    measure: Callable[[Any], Cost]
    size: int | str
    what: str


def growth(
    folder: Path, quick: bool = False, on_start: Callable[[str, int, int], None] | None = None
) -> list[Sweep]:
    """Measure how cost grows, and write ``growth.json`` and ``growth.png``.

    On two cores it takes about three and a half minutes, and one more for each quantity of which a
    cost lies off its line: that can come from what else the machine does, so all its points are
    measured again, and the lesser costs taken.

    Parameters
    ----------
    folder : Path
        Where to write; it is made if need be.
    quick : bool (default: False)
        Measure the smallest points only, to see that all works.
    on_start : Callable[[str, int, int], None] | None (default: None)
        Called with what is measured next, its number from 1, and how many there are by now.

    Returns
    -------
    list[Sweep]
        By clients per round, parameters and image side.
    """
    plan = _plan(quick)
    start = on_start or (lambda what, number, count: None)
    measured: dict[_Step, Cost] = {}
    for number, step in enumerate(plan, start=1):
        start(step.what, number, len(plan))
        measured[step] = in_fresh_process(step.measure, step.size)
    doubtful = {sweep.quantity for sweep in _sweeps(measured) if sweep.strays()}
    again = [step for step in plan if step.quantity in doubtful]
    for number, step in enumerate(again, start=len(plan) + 1):
        start(f"{step.what}, again", number, len(plan) + len(again))
        measured[step] = measured[step].least(in_fresh_process(step.measure, step.size))
    sweeps = _sweeps(measured)
    write(folder, sweeps)
    return sweeps


def _plan(quick: bool) -> list[_Step]:
    counts = (2, 4) if quick else (10, 30, 100, 300, 1000, 3000, 10_000)
    models = ("1m", "3m") if quick else ("1m", "3m", "10m", "30m", "100m")
    sides = (8, 16) if quick else (32, 64, 96, 128, 224)
    return [
        *(_Step(CLIENTS, costs.of_clients, n, f"{n:,} clients per round") for n in counts),
        *(
            _Step(PARAMETERS, costs.of_parameters, f"{costs.__name__}.wide_{m}", f"{m} parameters")
            for m in models
        ),
        *(_Step(SIDE, costs.of_side, side, f"images of {side}×{side}") for side in sides),
    ]


def _sweeps(measured: Mapping[_Step, Cost]) -> list[Sweep]:
    return [
        Sweep(quantity, [cost for step, cost in measured.items() if step.quantity is quantity])
        for quantity in (CLIENTS, PARAMETERS, SIDE)
    ]


def write(folder: Path, sweeps: Sequence[Sweep]) -> None:
    """Write ``growth.json`` and ``growth.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"tolerance": TOLERANCE, "sweeps": [sweep.to_json() for sweep in sweeps]}
    replace_text(folder / "growth.json", json.dumps(data, indent=2) + "\n")
    save(picture(sweeps), folder / "growth.png")
