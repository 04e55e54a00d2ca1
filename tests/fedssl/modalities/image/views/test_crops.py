"""Where crops are: torchvision's law, bounds, and what stands out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from fedssl.modalities.image.views.crops import BoundedCrop, Crop, CropStep, SaliencyCrop
from fedssl.modalities.image.views.saliency import saliency
from tests.tools.images import bytes_, floats, rng, uniform

KINDS: list[type[CropStep]] = [Crop, BoundedCrop, SaliencyCrop]


def boxes_of(step: CropStep, images: Tensor, seed: int = 0) -> Tensor:
    size = (images.shape[2], images.shape[3])
    return step.boxes(images, step.draw(uniform(len(images), step.draws, seed), size))


def one_object(count: int, side: int = 32) -> Tensor:
    """Grey images, noisy, with a bright square of 6 pixels at row 4 and column 20."""
    images = torch.full((count, 3, side, side), 100, dtype=torch.uint8)
    images += torch.randint(0, 10, images.shape, generator=rng(), dtype=torch.uint8)
    images[:, :, 4:10, 20:26] = torch.tensor([250, 200, 10], dtype=torch.uint8).view(3, 1, 1)
    return images


def test_crops_follow_torchvisions_law() -> None:
    """Compare area and position with torchvision's own draws: means within four standard errors."""
    count, size = 3000, 32
    step = Crop(ratio=(3 / 4, 4 / 3))
    drawn = step.draw(uniform(count, step.draws, 6), (size, size))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)
        crop = v2.RandomResizedCrop(size, scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3), antialias=True)
        boxes = [crop.make_params([torch.empty(3, size, size)]) for _ in range(count)]
    for name, ours in zip(("top", "left", "height", "width"), drawn.unbind(1), strict=True):
        theirs = torch.tensor([float(box[name]) for box in boxes])
        error = math.sqrt((ours.var() + theirs.var()) / count)
        assert abs(ours.mean() - theirs.mean()) < 4 * error, name
        assert abs(ours.std() / theirs.std() - 1) < 0.1, name


def test_a_crop_that_never_fits_is_the_largest_central_one() -> None:
    step = Crop(scale=(1.0, 1.0), ratio=(2.0, 2.0))
    assert step.draw(uniform(3, step.draws), (32, 32))[0].tolist() == [8, 0, 16, 32]
    # With an odd room, the upper of the two middles.
    assert step.draw(uniform(3, step.draws), (33, 32))[0].tolist() == [8, 0, 16, 32]


@given(
    st.sampled_from(KINDS),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.floats(0.01, 1.0),
    st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=60)
def test_crops_are_whole_pixels_inside_the_image(
    kind: type[CropStep], size: tuple[int, int], least: float, seed: int
) -> None:
    found = boxes_of(kind.model_validate({"scale": (least, 1.0)}), bytes_(20, *size), seed)
    assert torch.equal(found, found.round())
    corner, extent = found[:, :2], found[:, 2:]
    assert (corner >= 0).all()
    assert (extent >= 1).all()
    assert (corner + extent <= torch.tensor(size)).all()


@given(
    st.floats(0, 0.5),
    st.tuples(st.integers(4, 60), st.integers(4, 60)),
    st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=60)
def test_a_bounded_crops_centre_is_within_its_offset(
    offset: float, size: tuple[int, int], seed: int
) -> None:
    step = BoundedCrop(offset=offset, scale=(0.05, 1.0))
    found = step.draw(uniform(50, step.draws, seed), size)
    centre = found[:, :2] + found[:, 2:] / 2
    sides = torch.tensor(size)
    # An odd room has its middle between two pixels.
    assert ((centre - sides / 2).abs() <= (offset * sides).clamp(min=0.5) + 1e-4).all()


def test_a_bounded_crop_takes_all_places_within_its_offset_alike() -> None:
    step = BoundedCrop(offset=0.125, scale=(0.25, 0.25), ratio=(1.0, 1.0))
    tops = step.draw(uniform(9000, step.draws), (32, 32))[:, 0]
    # The middle is at 8, and an eighth of 32 pixels is 4.
    places, counts = torch.unique(tops, return_counts=True)
    assert places.tolist() == list(range(4, 13))
    assert (counts - 1000).abs().max() < 150


def test_a_bounded_crop_of_no_bound_that_matters_is_a_crop() -> None:
    numbers = uniform(100, Crop.draws)
    free, bounded = (kind.draw(numbers, (32, 24)) for kind in (Crop(), BoundedCrop(offset=0.5)))
    assert torch.equal(free, bounded)


def test_saliency_is_the_distance_of_the_blurred_pixel_to_the_mean_colour() -> None:
    images = floats(3, 32)
    for image, found in zip(images, saliency(images), strict=True):
        blurred = tv.gaussian_blur(image, [5, 5], [1.0, 1.0])
        for row, column in [(0, 0), (31, 5), (16, 16)]:
            expected = sum(
                (blurred[c, row, column] - image[c].mean()).item() ** 2 for c in range(3)
            )
            assert found[row, column].item() == pytest.approx(expected, abs=2e-6)


def test_saliency_of_bytes_is_that_of_floats() -> None:
    images = bytes_(2, 20, 30)
    torch.testing.assert_close(saliency(images), saliency(images / 255))


@pytest.mark.parametrize("side", [1, 3, 8])
def test_the_smallest_images_have_a_saliency(side: int) -> None:
    assert (saliency(bytes_(2, side, side)) > 0).all()


def test_a_saliency_crops_centre_is_drawn_in_proportion_to_the_saliency() -> None:
    image = bytes_(1, 2, 2)
    share = saliency(image).flatten() / saliency(image).sum()
    images = image.expand(20_000, -1, -1, -1)
    # Of one pixel, so that the box is its centre.
    step = SaliencyCrop(scale=(0.25, 0.25), ratio=(1.0, 1.0))
    found = boxes_of(step, images)
    pixel = (2 * found[:, 0] + found[:, 1]).long()
    counts = torch.bincount(pixel, minlength=4) / len(images)
    torch.testing.assert_close(counts, share, atol=0.02, rtol=0)


def test_saliency_crops_keep_what_stands_out() -> None:
    images = one_object(500)

    def kept(step: CropStep) -> Tensor:
        top, left, height, width = boxes_of(step, images).unbind(1)
        down = (top + height).clamp(max=10) - top.clamp(min=4)
        across = (left + width).clamp(max=26) - left.clamp(min=20)
        return (down.clamp(min=0) * across.clamp(min=0) / 36).mean()

    small = {"scale": (0.1, 0.3)}
    assert kept(Crop.model_validate(small)) < 0.5
    assert kept(SaliencyCrop.model_validate(small)) > 0.85


def test_where_nothing_stands_out_any_place_is_as_good() -> None:
    images = torch.full((4000, 3, 9, 9), 7, dtype=torch.uint8)
    step = SaliencyCrop(scale=(0.01, 0.01), ratio=(1.0, 1.0))
    found = boxes_of(step, images)
    assert (found[:, :2].mean(0) - 4).abs().max() < 0.2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scale", [0.5, 0.2]),
        ("scale", [0.5, 1.2]),
        ("ratio", [0.0, 1.0]),
        ("side", 0.0),
        ("side", 1.5),
        ("offset", 0.6),
        ("last_view", 0),
    ],
)
def test_the_config_refuses_what_makes_no_sense(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        BoundedCrop.model_validate({field: value})
