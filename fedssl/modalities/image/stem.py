"""The first layers of encoders that take small images, too."""

from typing import Literal

from fedssl.data.example_spec import ExampleSpec

Stem = Literal["auto", "cifar", "imagenet"]

SMALL_IMAGE = 64
"""The largest side, in pixels, for which the stem `auto` keeps the full resolution."""


def is_small(stem: Stem, spec: ExampleSpec) -> bool:
    """Tell whether a stem is that for small images, by what stored images are."""
    return stem == "cifar" or (stem == "auto" and spec.shape[-1] <= SMALL_IMAGE)
