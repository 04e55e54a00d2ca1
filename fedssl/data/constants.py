"""Constants by channel, as a ``data`` section has them."""

from typing import Annotated

from pydantic import AfterValidator

from fedssl.base.fields import Listed, Number


def _positive(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(value <= 0 for value in values):
        raise ValueError("must be above 0 in every channel")
    return values


Constants = Annotated[tuple[Number, ...], Listed]
"""A number for each channel, or one for all."""
Spreads = Annotated[Constants, AfterValidator(_positive)]
"""The same of what channels are divided by."""
