"""What every step of a view policy is."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from fedssl.base.fields import Fields, Listed, Number

Probability = Annotated[Number, Field(ge=0, le=1)]
Positive = Annotated[Number, Field(gt=0)]
Range = Annotated[tuple[Positive, Positive], Listed]
"""The least and the greatest value of something."""


class Step(Fields):
    """An entry of ``views``: what is done to the examples, each with parameters of its own.

    Its random numbers are uniform in [0, 1), as many for each example as it says, whatever its
    fields: so an example's parameters do not depend on how many follow it in the batch, nor on how
    strong another step is.
    """

    name: str
    """Which step: a name that `fedssl list` prints, or a dotted path."""
    first_view: PositiveInt = 1
    """The first of an example's views that it is for, counted from 1."""
    last_view: PositiveInt | None = None
    """The last of them; null for no end."""

    rank: ClassVar[int] = 2
    """Its place: 0 for what needs the batch as it is, 1 for crops, 2 for the rest."""
    draws: ClassVar[int] = 0
    """How many random numbers it takes for each example."""

    @model_validator(mode="after")
    def _is_for_a_view(self) -> Self:
        if self.last_view is not None and self.last_view < self.first_view:
            raise ValueError(
                f"last_view = {self.last_view}: must not be before first_view = {self.first_view}"
            )
        return self

    def is_for(self, view: int) -> bool:
        """Tell whether it is for a view of this number, from 1."""
        return self.first_view <= view and (self.last_view is None or view <= self.last_view)


def ascending(name: str, values: tuple[float, float]) -> None:
    """Raise a ValueError where a range's smaller number is not its first."""
    low, high = values
    if low > high:
        raise ValueError(f"{name} = [{low}, {high}]: put the smaller number first")


def between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Stretch [0, 1) over [low, high)."""
    return low + (high - low) * uniform
