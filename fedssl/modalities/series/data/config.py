"""What the ``data`` section of series holds, whichever set it names."""

from typing import Annotated, Literal

from pydantic import Field

from fedssl.base.fields import DottedPath
from fedssl.data.config import DataConfig
from fedssl.data.constants import Constants, Spreads
from fedssl.data.custom import CustomData

SeriesConstants = Annotated[Constants, Field(min_length=1)]
SeriesSpreads = Annotated[Spreads, Field(min_length=1)]


class SeriesData(DataConfig):
    """The ``data`` section of series."""

    modality: Literal["series"] = "series"
    """Its examples are series: of one channel or more, measured step by step."""
    length: int | None = Field(default=None, ge=1, le=1 << 24)
    """The steps that every series has once it is loaded: longer ones are cut at the end, shorter
    ones filled up with NaN, which stands for what is not there; null: those of the longest."""
    mean: SeriesConstants = (0.0,)
    """Subtracted from each channel: one number for each, or one for all."""
    std: SeriesSpreads = (1.0,)
    """What each channel (or all) is divided by after ``mean`` is subtracted."""


class OwnSeries(SeriesData, CustomData):
    """When the series come from your own code: ``name: my_module.load_my_series``."""

    name: DottedPath
    """The dotted path of a function that returns them as `Splits`."""
