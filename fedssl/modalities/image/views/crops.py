"""Steps that crop: which part of each image a view shows."""

import math
from abc import abstractmethod
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.modalities.image.views.saliency import saliency
from fedssl.modalities.image.views.step import ImageStep
from fedssl.views.step import Range, ascending, between

ATTEMPTS = 10
"""How often torchvision draws a crop's shape, until one fits into the image."""
MIDDLE = 0.4999999
"""The place in [0, 1) at which a crop is central, to the left of the middle where it has two."""


class CropStep(ImageStep):
    """A step that crops, and stretches what is left to the view's size."""

    scale: Range = (0.2, 1.0)
    """Least and greatest share of the image's area that a crop covers, at most 1."""
    ratio: Range = (0.75, 1.3333)
    """Least and greatest ratio of a crop's width to its height."""
    side: Number = Field(1.0, gt=0, le=1)
    """The view's side, as a share of the image's: the smaller, the cheaper is an encoder's step."""

    rank: ClassVar[int] = 1
    draws: ClassVar[int] = 2 * ATTEMPTS + 2

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        ascending("scale", self.scale)
        ascending("ratio", self.ratio)
        if self.scale[1] > 1:
            raise ValueError(f"scale = {list(self.scale)}: a crop covers at most 1")
        return self

    def size_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return a view's height and width in pixels, of those of the image."""
        height, width = (max(1, round(self.side * n)) for n in size)
        return height, width

    def draw(self, uniform: Tensor, size: tuple[int, int]) -> Tensor:
        """Return where each crop is, as `corner` says, and its height and width, [B, 4].

        The law of heights and widths is that of torchvision's ``RandomResizedCrop``: an area
        uniform in ``scale``, a ratio log-uniform in ``ratio``, rounded to whole pixels, drawn anew
        while it does not fit; after ten attempts the largest central crop whose ratio is in range.
        """
        shapes, places = uniform[:, : 2 * ATTEMPTS], uniform[:, 2 * ATTEMPTS :]
        height, width, fallback = self._shape(shapes.reshape(-1, 2, ATTEMPTS), size)
        room = torch.stack([size[0] - height, size[1] - width], 1)
        places = torch.where(fallback[:, None], MIDDLE, places)
        return torch.cat([self.corner(places, room, size), height[:, None], width[:, None]], 1)

    @abstractmethod
    def corner(self, places: Tensor, room: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the crops' tops and lefts [B, 2] in whole pixels, as floats.

        Parameters
        ----------
        places : Tensor
            float32 [B, 2] in [0, 1): random.
        room : Tensor
            float32 [B, 2]: how far down and across the crops could be.
        size : tuple[int, int]
            The images' height and width.
        """

    def boxes(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Return tops, lefts, heights and widths [B, 4], in whole pixels, as floats.

        Parameters
        ----------
        images : Tensor
            uint8 or float32 in [0, 1], [B, 3, H, W].
        drawn : Tensor
            What `draw` returned for them.
        """
        return drawn.to(images.device)

    def _shape(self, uniform: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return heights and widths [B], and which of them fitted at no attempt.

        Parameters
        ----------
        uniform : Tensor
            float32 [B, 2, `ATTEMPTS`] in [0, 1).
        size : tuple[int, int]
            The images' height and width.
        """
        full_height, full_width = size
        area = between(uniform[:, 0], *self.scale) * (full_height * full_width)
        ratio = between(uniform[:, 1], *map(math.log, self.ratio)).exp()
        height, width = (area / ratio).sqrt().round(), (area * ratio).sqrt().round()
        fits = (height > 0) & (height <= full_height) & (width > 0) & (width <= full_width)
        first = fits.to(torch.uint8).argmax(1, keepdim=True)
        height, width = height.gather(1, first).squeeze(1), width.gather(1, first).squeeze(1)
        fallback = ~fits.any(1)
        least, greatest = self.ratio
        height[fallback] = min(full_height, max(1, round(full_width / least)))
        width[fallback] = min(full_width, max(1, round(full_height * greatest)))
        return height, width, fallback


class Crop(CropStep):
    """Show a part of the image, anywhere in it: torchvision's ``RandomResizedCrop``."""

    name: Literal["crop"] = "crop"
    """A crop anywhere in the image."""

    def corner(self, places: Tensor, room: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the crops' tops and lefts [B, 2], anywhere."""
        return (places * (room + 1)).floor()


class BoundedCrop(CropStep):
    """Show a part near the image's middle, so that views keep the object, and with it the label.

    The crop's centre is uniform among those that are at most ``offset`` of the image's height and
    width away from its centre; so the centres of two views are at most twice as far apart, where
    those of `Crop` can show two things that have nothing in common.

    After Hassan et al., "Taming the Randomness: Towards Label-Preserving Cropping in Contrastive
    Learning", 2025, who draw the centre from a Gaussian.
    """

    name: Literal["bounded-crop"] = "bounded-crop"
    """A crop near the image's middle."""
    offset: Number = Field(0.1, ge=0, le=0.5)
    """How far the crop's centre is from the image's, as a share of its sides, at most."""

    def corner(self, places: Tensor, room: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the crops' tops and lefts [B, 2]; their centres are within ``offset``.

        Where no whole pixel is, it is the middle, rounded down.
        """
        middle, reach = room / 2, self.offset * torch.tensor(size)
        # The middle itself is exact in float32, and always within its bounds.
        low = (middle - reach).ceil().clamp(min=0).minimum(middle.floor())
        high = (middle + reach).floor().minimum(room).maximum(low)
        return low + (places * (high - low + 1)).floor()


class SaliencyCrop(CropStep):
    """Show a part around a place that stands out, since that is where the object mostly is.

    The crop's centre is a pixel drawn in proportion to its `saliency`; at the image's edge the box
    is moved inside. For images with one object and a background.
    """

    name: Literal["saliency-crop"] = "saliency-crop"
    """A crop around a place that stands out."""

    def corner(self, places: Tensor, room: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the places as they are: where the crops are, the images say."""
        return places

    def boxes(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Return tops, lefts, heights and widths [B, 4], in whole pixels, as floats."""
        drawn = drawn.to(images.device)
        place, extent = drawn[:, :1], drawn[:, 2:]
        height, width = images.shape[2:]
        cumulated = saliency(images).flatten(1).cumsum(1)
        pixel = torch.searchsorted(cumulated, place * cumulated[:, -1:], right=True)
        pixel.clamp_(max=height * width - 1)
        centre = torch.cat([pixel.div(width, rounding_mode="floor"), pixel % width], 1)
        room = images.new_tensor((height, width), dtype=drawn.dtype) - extent
        corner = (centre + 0.5 - extent / 2).floor().clamp(min=0).minimum(room)
        return torch.cat([corner, extent], 1)
