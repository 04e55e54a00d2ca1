"""The random parameters of views: how each is distributed, and in which order it is drawn."""

import math
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from fedssl.views.config import ViewsConfig

ATTEMPTS = 10
"""How often torchvision draws a crop's shape, until one fits into the image."""


@dataclass(frozen=True)
class Parameters:
    """What is drawn for the views of B images: [B] each, on the CPU."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    """The crop's box in whole pixels, as floats."""
    flip: Tensor
    jitter: Tensor
    grayscale: Tensor
    blur: Tensor
    solarize: Tensor
    """Whether it happens: bool."""
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    """Factors; 1 leaves the image as it is."""
    hue: Tensor
    """Turns of the colour circle."""
    sigma: Tensor
    """Standard deviation of the blur, in pixels."""

    def take(self, start: int, stop: int) -> Self:
        """Return the parameters of the images from ``start`` up to ``stop``."""
        return type(self)(**{f.name: getattr(self, f.name)[start:stop] for f in fields(self)})


def draw(
    config: ViewsConfig, count: int, size: tuple[int, int], generator: torch.Generator
) -> Parameters:
    """Draw the parameters of one view of each of ``count`` images of ``size`` (H, W).

    Each image takes the same number of draws, one image after the other, whatever the config:
    so an image's parameters do not depend on how many images follow it in the batch.
    """
    uniform = torch.rand(count, 2 * ATTEMPTS + 12, generator=generator)
    shapes, rest = uniform[:, : 2 * ATTEMPTS], uniform[:, 2 * ATTEMPTS :]
    (down, right, flip, jitter, brightness, contrast, saturation, hue, gray, blur, sigma, solar) = (
        rest.unbind(1)
    )
    height, width, fallback = _crop_shape(config, shapes.reshape(count, 2, ATTEMPTS), size)
    top, left = (
        torch.where(fallback, room.div(2, rounding_mode="floor"), (place * (room + 1)).floor())
        for place, room in ((down, size[0] - height), (right, size[1] - width))
    )
    return Parameters(
        top=top,
        left=left,
        height=height,
        width=width,
        flip=flip < config.flip,
        jitter=jitter < config.jitter,
        grayscale=gray < config.grayscale,
        blur=blur < config.blur,
        solarize=solar < config.solarize,
        brightness=1 + config.brightness * (2 * brightness - 1),
        contrast=1 + config.contrast * (2 * contrast - 1),
        saturation=1 + config.saturation * (2 * saturation - 1),
        hue=config.hue * (2 * hue - 1),
        sigma=_between(sigma, *config.blur_sigma),
    )


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * uniform


def _crop_shape(
    config: ViewsConfig, uniform: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return crops' heights and widths [B], and which of them fitted at no attempt.

    The law is that of torchvision's ``RandomResizedCrop``: an area uniform in ``crop_scale``, a
    ratio log-uniform in ``crop_ratio``, rounded to whole pixels, drawn anew while it does not
    fit; after ten attempts the largest central crop whose ratio is in range.

    Parameters
    ----------
    config : ViewsConfig
        The distributions' bounds.
    uniform : Tensor
        float32 [B, 2, `ATTEMPTS`] in [0, 1).
    size : tuple[int, int]
        The images' height and width.
    """
    full_height, full_width = size
    area = _between(uniform[:, 0], *config.crop_scale) * (full_height * full_width)
    ratio = _between(uniform[:, 1], *map(math.log, config.crop_ratio)).exp()
    height, width = (area / ratio).sqrt().round(), (area * ratio).sqrt().round()
    fits = (height > 0) & (height <= full_height) & (width > 0) & (width <= full_width)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    height, width = height.gather(1, first).squeeze(1), width.gather(1, first).squeeze(1)
    fallback = ~fits.any(1)
    least, greatest = config.crop_ratio
    height[fallback] = min(full_height, max(1, round(full_width / least)))
    width[fallback] = min(full_width, max(1, round(full_height * greatest)))
    return height, width, fallback
