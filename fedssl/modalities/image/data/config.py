"""What the ``data`` section of images holds, whichever set it names."""

from typing import Literal

from pydantic import Field, field_validator

from fedssl.base.fields import DottedPath
from fedssl.data.config import DataConfig
from fedssl.data.constants import Constants, Spreads
from fedssl.data.custom import CustomData


class ImageData(DataConfig):
    """The ``data`` section of images."""

    modality: Literal["image"] = "image"
    """Its examples are images."""
    size: int | None = Field(default=None, ge=1, le=2048)
    """The side in pixels that images are resized to when they are loaded; null keeps theirs."""
    mean: Constants = (0.5,)
    """Subtracted from each channel (red, green, blue, or one for all) on the 0-1 scale."""
    std: Spreads = (0.25,)
    """What each channel (or all) is divided by after ``mean`` is subtracted."""

    @field_validator("mean", "std")
    @classmethod
    def _one_or_three(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(values) not in (1, 3):
            raise ValueError(f"has {len(values)} numbers: give one, or one for each of 3 channels")
        return values


class OwnImages(ImageData, CustomData):
    """When the images come from your own code: ``name: my_module.load_my_images``."""

    name: DottedPath
    """The dotted path of a function that returns them as `Splits`."""
