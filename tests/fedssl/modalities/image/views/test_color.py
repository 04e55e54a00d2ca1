"""Changes of colour against torchvision, image by image."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from fedssl.modalities.image.views.color import (
    brightness_,
    contrast_,
    gray,
    hue_,
    saturation_,
    solarize_,
)
from tests.tools.images import floats

Change = Callable[[Tensor, Tensor], Tensor]


def with_corners(images: Tensor) -> Tensor:
    """Put every combination of 0, ½ and 1, and of ties, into the first image's corner."""
    levels = torch.tensor([0.0, 0.5, 1.0])
    colors = torch.cartesian_prod(levels, levels, levels)
    images[0].flatten(1)[:, : len(colors)] = colors.T
    return images


@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (brightness_, tv.adjust_brightness, (0.6, 1.4)),
        (contrast_, tv.adjust_contrast, (0.6, 1.4)),
        (saturation_, tv.adjust_saturation, (0.0, 2.0)),
        (hue_, tv.adjust_hue, (-0.5, 0.5)),
    ],
)
def test_jitter_is_torchvisions(
    ours: Change, theirs: Callable[[Tensor, float], Tensor], factors: tuple[float, float]
) -> None:
    images = with_corners(floats(8))
    values = torch.linspace(factors[0], factors[1], 8)
    result = ours(images.clone(), values)
    for image, value, changed in zip(images, values.tolist(), result, strict=True):
        torch.testing.assert_close(changed, theirs(image, value), atol=1e-5, rtol=0)


@given(
    st.lists(st.integers(0, 255), min_size=3, max_size=3),
    st.floats(-0.5, 0.5, width=32),
)
@settings(deadline=None, max_examples=200)
def test_hue_of_any_colour_is_torchvisions(color: list[int], turn: float) -> None:
    pixel = (torch.tensor(color) / 255).view(1, 3, 1, 1)
    changed = hue_(pixel.clone(), torch.tensor([turn]))
    torch.testing.assert_close(changed, tv.adjust_hue(pixel, turn), atol=1e-5, rtol=0)


def test_gray_and_solarise_are_torchvisions() -> None:
    images = with_corners(floats(4))
    torch.testing.assert_close(gray(images), tv.rgb_to_grayscale(images, 1), atol=1e-6, rtol=0)
    expected = tv.solarize(images, 0.5)
    torch.testing.assert_close(solarize_(images.clone()), expected, atol=1e-6, rtol=0)
