"""A figure of the bench: what was measured, against what, and whether it is as it should be."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """What a figure should reach."""

    bound: float
    at_least: bool
    """Whether the bound is the least; else it is the most."""
    of_ratio: bool = False
    """Whether it bounds the ratio to the reference; else the value."""
    unit: str = ""

    def __str__(self) -> str:
        return self.short() + (f" {self.unit}" if self.unit else "")

    def short(self) -> str:
        """Return it without the unit."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:,g}{' ×' if self.of_ratio else ''}"

    def met(self, value: float | None, ratio: float | None) -> bool | None:
        """Tell whether it was reached; None where what it bounds was not measured."""
        measured = ratio if self.of_ratio else value
        if measured is None:
            return None
        return measured >= self.bound if self.at_least else measured <= self.bound


@dataclass(frozen=True)
class Figure:
    """One row of the bench's table."""

    name: str
    unit: str
    value: float | None = None
    """Ours, the median of several; None where it was not measured."""
    reference: float | None = None
    """The reference's, measured in the same run in turn with ours."""
    ratio: float | None = None
    """The median of value / reference, pair by pair."""
    spread: float | None = None
    """Half the distance of the quartiles of the ratio (of the value where there is no reference),
    as a share of the median; None for a single measurement."""
    target: Target | None = None
    note: str = ""
    """What the reference is, or why there is no value."""

    @property
    def met(self) -> bool | None:
        """Whether the target was reached; None where there is none or it was not measured."""
        return self.target.met(self.value, self.ratio) if self.target else None

    def to_json(self) -> dict[str, Any]:
        """Return what the bench's JSON file holds of it."""
        return {
            **asdict(self),
            "target": str(self.target) if self.target else None,
            "met": self.met,
        }
