"""A measurement of the bench: its value, its reference and its target."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """The value or ratio that a measurement should reach.

    Examples
    --------
    >>> target = Target(1.5, at_least=False, of_ratio=True)
    >>> print(target)
    ≤ 1.5 ×
    >>> target.met(value=None, ratio=1.2)
    True
    """

    bound: float
    at_least: bool
    """Whether the bound is a minimum; otherwise it is a maximum."""
    of_ratio: bool = False
    """Whether the bound is on the ratio to the reference; otherwise on the value."""
    unit: str = ""

    def __str__(self) -> str:
        return self.short() + (f" {self.unit}" if self.unit else "")

    def short(self) -> str:
        """Return the target as text without the unit."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:,g}{' ×' if self.of_ratio else ''}"

    def met(self, value: float | None, ratio: float | None) -> bool | None:
        """Return whether the target is reached, or None if there is nothing to compare."""
        measured = ratio if self.of_ratio else value
        if measured is None:
            return None
        return measured >= self.bound if self.at_least else measured <= self.bound


@dataclass(frozen=True)
class Measurement:
    """One row of the bench's table.

    Examples
    --------
    >>> target = Target(100.0, at_least=False, unit="MB")
    >>> Measurement("peak memory", "MB", value=120.0, target=target).met
    False
    """

    name: str
    unit: str
    value: float | None = None
    """The median of our values; None if it was not measured."""
    reference: float | None = None
    """The median of the reference's values, measured in turn with ours."""
    ratio: float | None = None
    """The median of value / reference, pair by pair."""
    spread: float | None = None
    """Half the interquartile range of the ratio (or of the value, without a reference), divided by
    the median; None for a single repetition."""
    target: Target | None = None
    note: str = ""
    """The reference, or the reason why there is no value."""

    @property
    def met(self) -> bool | None:
        """Whether the target was reached; None without a target or a value."""
        return self.target.met(self.value, self.ratio) if self.target else None

    def to_json(self) -> dict[str, Any]:
        """Return the measurement as the JSON file holds it."""
        return {
            **asdict(self),
            "target": str(self.target) if self.target else None,
            "met": self.met,
        }
