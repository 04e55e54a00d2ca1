"""Steps that change some of the images and leave the others: flip, colours, blur."""

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.modalities.image.views.color import (
    brightness_,
    contrast_,
    gray,
    hue_,
    saturation_,
    solarize_,
)
from fedssl.modalities.image.views.resample import blur_kernel_size, blur_weights, resample
from fedssl.modalities.image.views.step import ImageStep
from fedssl.views.step import Probability, Range, ascending, between


class Change(ImageStep):
    """A step that happens to each image with a probability."""

    probability: Probability
    """The probability that an image is changed."""

    draws: ClassVar[int] = 1

    def draw(self, uniform: Tensor, size: tuple[int, int]) -> Tensor:
        """Return whether it happens (0 or 1), and what `change` is given, [B, ``draws``]."""
        happens = (uniform[:, :1] < self.probability).to(uniform.dtype)
        return torch.cat([happens, self.strengths(uniform[:, 1:])], 1)

    def strengths(self, uniform: Tensor) -> Tensor:
        """Return what `change` is given, [B, ``draws`` − 1]."""
        return uniform

    def apply(self, images: Tensor, drawn: Tensor) -> None:
        """Change those images, float32 [B, 3, H, W] in [0, 1], that were drawn, in place."""
        rows = drawn[:, 0].nonzero().squeeze(1)
        if len(rows) > 0:
            at = rows.to(images.device)
            strengths = drawn[rows, 1:].to(images.device)
            images.index_copy_(0, at, self.change(images.index_select(0, at), strengths))

    @abstractmethod
    def change(self, images: Tensor, strengths: Tensor) -> Tensor:
        """Return changed images; those given, a copy, may be written to."""


class Flip(Change):
    """Mirror it, left to right."""

    name: Literal["flip"] = "flip"
    """A horizontal flip."""
    probability: Probability = 0.5
    """The probability that an image is flipped."""

    def change(self, images: Tensor, strengths: Tensor) -> Tensor:
        """Return the images flipped."""
        return images.flip(3)


class Jitter(Change):
    """Change brightness, contrast, saturation and hue, in this order."""

    name: Literal["jitter"] = "jitter"
    """A colour jitter."""
    probability: Probability = 0.8
    """The probability that an image's colours are changed."""
    brightness: Probability = 0.4
    """b: the brightness is multiplied by a factor from [1 − b, 1 + b]."""
    contrast: Probability = 0.4
    """c: the contrast is multiplied by a factor from [1 − c, 1 + c]."""
    saturation: Probability = 0.4
    """s: the saturation is multiplied by a factor from [1 − s, 1 + s]."""
    hue: Annotated[Number, Field(ge=0, le=0.5)] = 0.1
    """h: the hue turns by a share of the colour circle from [−h, h], at most 0.5."""

    draws: ClassVar[int] = 5

    def strengths(self, uniform: Tensor) -> Tensor:
        """Return factors, of which 1 changes nothing, and turns of the colour circle, [B, 4]."""
        reach = torch.tensor([self.brightness, self.contrast, self.saturation, self.hue])
        return reach * (2 * uniform - 1) + torch.tensor([1.0, 1.0, 1.0, 0.0])

    def change(self, images: Tensor, strengths: Tensor) -> Tensor:
        """Return the images in other colours."""
        brightness, contrast, saturation, hue = strengths.unbind(1)
        if self.brightness > 0:
            brightness_(images, brightness)
        if self.contrast > 0:
            contrast_(images, contrast)
        if self.saturation > 0:
            saturation_(images, saturation)
        if self.hue > 0:
            hue_(images, hue)
        return images


class Grayscale(Change):
    """Take the colour away."""

    name: Literal["grayscale"] = "grayscale"
    """Grey values in place of colours."""
    probability: Probability = 0.2
    """The probability that an image's colour is taken away."""

    def change(self, images: Tensor, strengths: Tensor) -> Tensor:
        """Return the images in grey."""
        return gray(images).expand_as(images)


class Blur(Change):
    """Blur it: a Gaussian, its kernel a tenth of the image wide, at least 3 pixels."""

    name: Literal["blur"] = "blur"
    """A Gaussian blur."""
    probability: Probability = 0.5
    """The probability that an image is blurred."""
    sigma: Range = (0.1, 2.0)
    """Least and greatest standard deviation, in pixels."""

    draws: ClassVar[int] = 2

    @model_validator(mode="after")
    def _range_ascends(self) -> Self:
        ascending("sigma", self.sigma)
        return self

    def strengths(self, uniform: Tensor) -> Tensor:
        """Return standard deviations in pixels, [B, 1]."""
        return between(uniform, *self.sigma)

    def change(self, images: Tensor, strengths: Tensor) -> Tensor:
        """Return the images blurred."""
        size = (images.shape[2], images.shape[3])
        kernel_size = blur_kernel_size(size)
        rows, columns = (blur_weights(strengths[:, 0], kernel_size, n) for n in size)
        return resample(images, rows, columns)


class Solarize(Change):
    """Invert all values of at least half the brightest."""

    name: Literal["solarize"] = "solarize"
    """Bright values inverted."""
    probability: Probability = 0.2
    """The probability that an image is solarised."""

    def change(self, images: Tensor, strengths: Tensor) -> Tensor:
        """Return the images solarised."""
        return solarize_(images)
