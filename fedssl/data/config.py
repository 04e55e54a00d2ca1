"""What the ``data`` section holds, whichever set it names."""

from abc import abstractmethod
from typing import Annotated

from pydantic import Field, field_validator

from fedssl.data.dataset import Splits
from fedssl.data.where import Where
from fedssl.fields import Fields, Listed, Number

Constants = Annotated[tuple[Number, ...], Listed]


class Limit(Fields):
    """How many images to keep: the same ones whatever the experiment's seed."""

    train: int | None = Field(default=None, ge=1)
    """The training images to keep, as even over the classes as they allow; all where null."""
    test: int | None = Field(default=None, ge=1)
    """The test images to keep, as even over the classes as they allow; all where null."""


class DataConfig(Fields):
    """The ``data`` section: one subclass for each data set."""

    name: str
    """Which data set: a name that `fedssl list` prints, or a dotted path to a function."""
    limit: Limit = Limit()
    """Keep only so many images."""
    size: int | None = Field(default=None, ge=1, le=2048)
    """The side in pixels that images are resized to when they are loaded; null keeps theirs."""
    where: Where = Field(default_factory=dict)
    """Train only on images with these values of a column: {domain: [photo, cartoon]}."""
    test_where: Where = Field(default_factory=dict)
    """Test only on images with these values of a column: {domain: sketch}."""
    mean: Constants = (0.5,)
    """Subtracted from each channel (red, green, blue, or one for all) on the 0-1 scale."""
    std: Constants = (0.25,)
    """What each channel (or all) is divided by after ``mean`` is subtracted."""

    @field_validator("mean", "std")
    @classmethod
    def _one_or_three(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(values) not in (1, 3):
            raise ValueError(f"has {len(values)} numbers: give one, or one for each of 3 channels")
        return values

    @field_validator("std")
    @classmethod
    def _positive(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if min(values) <= 0:
            raise ValueError("must be above 0 in every channel")
        return values

    @abstractmethod
    def read(self) -> Splits:
        """Read the images as they are stored.

        ``load`` then applies ``limit`` and ``size`` and makes 3 channels of one, so a set need not.

        Returns
        -------
        Splits
            With images uint8 [N, 1 or 3, H, W], in memory or on demand.

        Raises
        ------
        ValueError
            Something is missing or malformed; the message starts with the field at fault.
        """
