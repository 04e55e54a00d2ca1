"""What a sweep measured: how a cost grows, as points, as a line and in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.costs import Cost
from tests.benchmarks.lines import TOLERANCE, Line, line_through

CURVES = {"time": "CPU time", "memory": "peak memory", "views": "views alone"}
"""The costs of a point, by their names in `Cost`, and how they are called."""


@dataclass(frozen=True)
class Quantity:
    """What grows."""

    name: str
    power: int
    """To which power of it costs are expected to grow in proportion."""
    time: str
    """The unit of CPU time."""
    step: int
    """Slopes are told for so many of that which costs grow with."""
    steps: str
    """How a step is called."""


CLIENTS = Quantity("clients per round", 1, "CPU-s a round", 1, "client")
PARAMETERS = Quantity("parameters", 1, "CPU-ms a client-round", 1_000_000, "million")
SIDE = Quantity("image side, pixels", 2, "CPU-ms an image", 1000, "1,000 pixels")


@dataclass(frozen=True)
class Sweep:
    """The points of one quantity."""

    quantity: Quantity
    points: Sequence[Cost]
    """From the smallest; one or more."""

    def curve(self, name: str) -> list[tuple[int, float]]:
        """Return where a cost of `CURVES` was measured, and the cost."""
        measured = [(point.at, getattr(point, name)) for point in self.points]
        return [(at, cost) for at, cost in measured if cost is not None and cost > 0]

    def line(self, name: str) -> Line | None:
        """Return the line through a curve; None where it has fewer than two points."""
        curve = self.curve(name)
        if len(curve) < 2:
            return None
        return line_through([at**self.quantity.power for at, _ in curve], [c for _, c in curve])

    def strays(self) -> bool:
        """Tell whether any cost lies off its line by more than is tolerated."""
        lines = {name: line for name in CURVES if (line := self.line(name))}
        return any(
            abs(cost / line.at(at**self.quantity.power) - 1) > TOLERANCE
            for name, line in lines.items()
            for at, cost in self.curve(name)
        )

    def to_json(self) -> dict[str, Any]:
        """Return what ``growth.json`` holds of it."""
        lines = {name: self.line(name) for name in CURVES}
        return {
            **asdict(self.quantity),
            "points": [asdict(point) for point in self.points],
            "lines": {name: asdict(line) for name, line in lines.items() if line},
        }


def words(sweep: Sweep, name: str) -> str:
    """Say in words how a cost grows, and whether it bends: in two lines, empty without a line."""
    line, curve = sweep.line(name), sweep.curve(name)
    if line is None:
        return ""
    unit = "MB" if name == "memory" else sweep.quantity.time.split()[0]
    law = f"{amount(line.fixed, unit)} + "
    law += f"{amount(line.slope * sweep.quantity.step, unit)} per {sweep.quantity.steps}"
    if line.bend is None:
        return f"{law}\nstraight up to {short(curve[-1][0])}"
    return f"{law}\nbends at {short(curve[line.bend][0])}: {line.excess:.1f} × the line"


def amount(value: float, unit: str) -> str:
    """Write a value with two or three digits, in the unit that keeps it near 1."""
    smaller = {"MB": "kB", "CPU-s": "CPU-ms", "CPU-ms": "CPU-µs"}[unit]
    if 0 < value < 0.1:
        value, unit = 1000 * value, smaller
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2g} {unit}"


def short(value: int) -> str:
    """Write a count: millions as M."""
    return f"{value / 1e6:.0f} M" if value >= 1_000_000 else f"{value:,}"
