"""The base class of the steps of a view policy."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from fedssl.base.fields import Fields, Listed, Number

Probability = Annotated[Number, Field(ge=0, le=1)]
Positive = Annotated[Number, Field(gt=0)]
Range = Annotated[tuple[Positive, Positive], Listed]
"""A range: its smallest and its largest value."""


class Step(Fields):
    """An entry of ``views``: a change of examples, with random parameters for each example.

    A step uses ``draws`` random numbers, uniform in [0, 1), for each example, whatever its fields:
    so an example's parameters do not depend on the rest of the batch, nor on the strength of other
    steps.
    """

    name: str
    """Which step: a name that `fedssl list` prints, or a dotted path."""
    first_view: PositiveInt = 1
    """The first view of an example that the step changes, counted from 1."""
    last_view: PositiveInt | None = None
    """The last view that the step changes; null for no end."""

    rank: ClassVar[int] = 2
    """Its place in the order: 0 if it needs the unchanged batch, 1 for crops, 2 for all others."""
    draws: ClassVar[int] = 0
    """How many random numbers the step uses for each example."""

    @model_validator(mode="after")
    def _is_for_a_view(self) -> Self:
        if self.last_view is not None and self.last_view < self.first_view:
            raise ValueError(
                f"last_view = {self.last_view}: must not be before first_view = {self.first_view}"
            )
        return self

    def is_for(self, view: int) -> bool:
        """Tell whether the step changes view number ``view``, from 1."""
        return self.first_view <= view and (self.last_view is None or view <= self.last_view)


def ascending(name: str, values: tuple[float, float]) -> None:
    """Raise a ValueError if a range's smaller number is not its first."""
    low, high = values
    if low > high:
        raise ValueError(f"{name} = [{low}, {high}]: put the smaller number first")


def between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Map numbers from [0, 1) to [low, high).

    Examples
    --------
    >>> import torch
    >>> between(torch.tensor([0.0, 0.5]), 2.0, 4.0)
    tensor([2., 3.])
    """
    return low + (high - low) * uniform
