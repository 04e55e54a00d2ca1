"""Crop, flip, shrink and blur against torchvision, image by image."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from fedssl.modalities.image.views.crops import Crop
from fedssl.modalities.image.views.resample import (
    PRODUCTS,
    blur_kernel_size,
    blur_weights,
    crop,
    crop_by_neighbours,
    crop_by_products,
    crop_places,
    resample,
    shrink,
)
from tests.tools.images import bytes_, floats, uniform

Cropping = Callable[[Tensor, Tensor, Tensor], Tensor]
FLIPS = torch.tensor([True, False, False, True, True, False, True, False])


def boxes(count: int, height: int, width: int, least: float, seed: int = 3) -> Tensor:
    step = Crop(scale=(least, 1.0))
    return step.draw(uniform(count, step.draws, seed), (height, width))


def theirs(image: Tensor, box: Tensor, flip: Tensor, size: tuple[int, int]) -> Tensor:
    top, left, height, width = box.int().tolist()
    view: Tensor = tv.resized_crop(image / 255, top, left, height, width, list(size))
    return tv.horizontal_flip(view) if flip else view


@pytest.mark.parametrize("size", [32, 17, 96])
@pytest.mark.parametrize("how", [crop_by_products, crop_by_neighbours])
def test_crop_and_flip_are_torchvisions_resized_crop(how: Cropping, size: int) -> None:
    images, found = bytes_(8, size, size), boxes(8, size, size, 0.05)
    top, left, height, width = found.unbind(1)
    views = how(
        images, crop_places(top, height, size), crop_places(left, width, size, mirror=FLIPS)
    )
    for image, view, box, flip in zip(images.float(), views, found, FLIPS, strict=True):
        expected = theirs(image, box, flip, (size, size))
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(32, 17), (33, 8), (224, 160)])
def test_both_ways_to_crop_agree_and_the_faster_one_is_taken(height: int, width: int) -> None:
    images = bytes_(3, height, width)
    top, left, high, wide = boxes(3, height, width, 0.01, seed=4).unbind(1)
    rows, columns = crop_places(top, high, height), crop_places(left, wide, width)
    products, neighbours = (
        how(images, rows, columns) for how in (crop_by_products, crop_by_neighbours)
    )
    torch.testing.assert_close(products, neighbours, atol=2e-5, rtol=0)
    expected = neighbours if height > PRODUCTS else products
    assert torch.equal(crop(images, rows, columns), expected)


@pytest.mark.parametrize("how", [crop_by_products, crop_by_neighbours])
def test_floats_are_taken_as_they_are(how: Cropping) -> None:
    images = bytes_(2)
    places = torch.arange(32.0).expand(2, -1)
    torch.testing.assert_close(how(images / 255, places, places), images / 255)


@pytest.mark.parametrize("size", [(16, 16), (5, 30), (1, 1)])
def test_a_smaller_view_is_shrunk_as_torchvision_does(size: tuple[int, int]) -> None:
    images, found = bytes_(8), boxes(8, 32, 32, 0.02)
    views = shrink(images, found, size, FLIPS)
    assert (found[:, 2:].amin() < 16) & (found[:, 2:].amax() > 16), "both larger and smaller"
    for image, view, box, flip in zip(images.float(), views, found, FLIPS, strict=True):
        torch.testing.assert_close(view, theirs(image, box, flip, size), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("size", "kernel"), [(32, 3), (50, 5), (64, 7), (8, 3)])
def test_blur_is_torchvisions(size: int, kernel: int) -> None:
    assert blur_kernel_size((size, size)) == kernel
    images, sigma = floats(5, size), torch.tensor([0.1, 0.4, 0.9, 1.5, 2.0])
    weights = blur_weights(sigma, kernel, size)
    for image, value, view in zip(
        images, sigma.tolist(), resample(images, weights, weights), strict=True
    ):
        expected = tv.gaussian_blur(image, [kernel, kernel], [value, value])
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)
