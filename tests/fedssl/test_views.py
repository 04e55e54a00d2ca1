"""The views against torchvision, image by image, and the laws of their random parameters."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from fedssl.views import Views, ViewsConfig
from fedssl.views.color import brightness_, contrast_, gray, hue_, saturation_, solarize_
from fedssl.views.draw import draw
from fedssl.views.resample import (
    PRODUCTS,
    blur_kernel_size,
    blur_weights,
    crop,
    crop_by_neighbours,
    crop_by_products,
    crop_places,
    resample,
)

Change = Callable[[Tensor, Tensor], Tensor]
Crop = Callable[[Tensor, Tensor, Tensor], Tensor]
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
OFF = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip": 0.0, "jitter": 0.0}
NOTHING = ViewsConfig.model_validate({**OFF, "grayscale": 0.0})


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def floats(count: int, size: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=rng(seed))


def bytes_(count: int, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    shape = (count, 3, height, width)
    return torch.randint(0, 256, shape, generator=rng(seed), dtype=torch.uint8)


def normalised(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images / 255 - mean) / std


def with_corners(images: Tensor) -> Tensor:
    """Put every combination of 0, ½ and 1, and of ties, into the first image's corner."""
    levels = torch.tensor([0.0, 0.5, 1.0])
    colors = torch.cartesian_prod(levels, levels, levels)
    images[0].flatten(1)[:, : len(colors)] = colors.T
    return images


@pytest.mark.parametrize("size", [32, 17, 96])
@pytest.mark.parametrize("how", [crop_by_products, crop_by_neighbours])
def test_crop_and_flip_are_torchvisions_resized_crop(how: Crop, size: int) -> None:
    images = bytes_(8, size, size)
    drawn = draw(ViewsConfig(crop_scale=(0.05, 1.0)), 8, (size, size), rng(3))
    rows = crop_places(drawn.top, drawn.height, size)
    columns = crop_places(drawn.left, drawn.width, size, mirror=drawn.flip)
    assert 0 < drawn.flip.sum() < 8
    for image, view, box, flip in zip(
        images.float() / 255,
        how(images, rows, columns),
        torch.stack([drawn.top, drawn.left, drawn.height, drawn.width], 1).int().tolist(),
        drawn.flip,
        strict=True,
    ):
        expected = tv.resized_crop(image, *box, [size, size], antialias=True)
        expected = tv.horizontal_flip(expected) if flip else expected
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(32, 17), (33, 8), (224, 160)])
def test_both_ways_to_crop_agree_and_the_faster_one_is_taken(height: int, width: int) -> None:
    images = bytes_(3, height, width)
    drawn = draw(ViewsConfig(crop_scale=(0.01, 1.0)), 3, (height, width), rng(4))
    rows = crop_places(drawn.top, drawn.height, height)
    columns = crop_places(drawn.left, drawn.width, width, mirror=drawn.flip)
    products, neighbours = (
        how(images, rows, columns) for how in (crop_by_products, crop_by_neighbours)
    )
    torch.testing.assert_close(products, neighbours, atol=2e-5, rtol=0)
    expected = neighbours if height > PRODUCTS else products
    assert torch.equal(crop(images, rows, columns), expected)


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


@pytest.mark.parametrize(("height", "width"), [(32, 24), (32, 40)])
def test_the_whole_recipe_is_torchvisions_with_the_same_parameters(height: int, width: int) -> None:
    config = ViewsConfig(blur=0.5, solarize=0.3)
    count = 150
    images = bytes_(count, height, width)
    drawn = draw(config, count, (height, width), rng(5))
    views = Views(config, MEAN, STD)(images, rng(5))
    for i in range(count):
        box = [int(x[i]) for x in (drawn.top, drawn.left, drawn.height, drawn.width)]
        view = tv.resized_crop(images[i].float() / 255, *box, [height, width], antialias=True)
        view = tv.horizontal_flip(view) if drawn.flip[i] else view
        if drawn.jitter[i]:
            view = tv.adjust_brightness(view, drawn.brightness[i].item())
            view = tv.adjust_contrast(view, drawn.contrast[i].item())
            view = tv.adjust_saturation(view, drawn.saturation[i].item())
            view = tv.adjust_hue(view, drawn.hue[i].item())
        if drawn.grayscale[i]:
            view = tv.rgb_to_grayscale(view, 3)
        if drawn.blur[i]:
            view = tv.gaussian_blur(view, [3, 3], [drawn.sigma[i].item()] * 2)
        if drawn.solarize[i]:
            # Rounding can put a value of ½ on either side: both give ½.
            view = tv.solarize(view, 0.5)
        expected = tv.normalize(view, list(MEAN), list(STD))
        torch.testing.assert_close(views[i], expected, atol=1e-4, rtol=0)


def test_the_same_generator_state_gives_the_same_bits() -> None:
    views, images = Views(ViewsConfig(blur=0.5), MEAN, STD), bytes_(10)
    draws = rng(1)
    first, second = views(images, draws), views(images, draws)
    assert torch.equal(first, views(images, rng(1)))
    assert not torch.equal(first, second)


def test_each_image_has_parameters_of_its_own() -> None:
    images = bytes_(1).expand(20, -1, -1, -1)
    views = Views(ViewsConfig(), MEAN, STD)(images, rng(2)).flatten(1)
    distances = torch.cdist(views, views) + torch.eye(20)
    assert distances.min() > 0.5


@given(st.integers(1, 299))
@settings(deadline=None, max_examples=15)
def test_two_batches_are_the_one_they_make(cut: int) -> None:
    views, images, draws = Views(ViewsConfig(), MEAN, STD), bytes_(300, 8, 8), rng(4)
    parts = torch.cat([views(images[:cut], draws), views(images[cut:], draws)])
    torch.testing.assert_close(parts, views(images, rng(4)), atol=1e-5, rtol=0)


def test_without_augmentation_a_view_is_the_normalised_image() -> None:
    images = bytes_(200)
    views = Views(NOTHING, MEAN, STD)(images, rng())
    torch.testing.assert_close(views, normalised(images), atol=1e-5, rtol=0)
    assert views.dtype == torch.float32


def test_one_constant_serves_all_channels() -> None:
    images = bytes_(2)
    views = Views(NOTHING, (0.5,), (0.25,))(images, rng())
    torch.testing.assert_close(views, (images / 255 - 0.5) / 0.25, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["flip", "jitter", "grayscale", "blur", "solarize"])
def test_probability_one_changes_every_image_and_leaves_the_input(name: str) -> None:
    config = ViewsConfig.model_validate(
        {**OFF, "grayscale": 0.0, "blur_sigma": (1.0, 1.0), name: 1.0}
    )
    images = bytes_(6)
    before = images.clone()
    changed = (Views(config, MEAN, STD)(images, rng()) - normalised(images)).abs().amax((1, 2, 3))
    assert (changed > 0.1).all()
    assert torch.equal(images, before)


def test_a_jitter_of_strength_zero_is_the_identity() -> None:
    config = ViewsConfig.model_validate(
        {**OFF, "grayscale": 0.0, "jitter": 1.0}
        | dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0)
    )
    images = bytes_(6)
    views = Views(config, MEAN, STD)(images, rng())
    torch.testing.assert_close(views, normalised(images), atol=1e-5, rtol=0)


def test_crops_follow_torchvisions_law() -> None:
    """Compare area and position with torchvision's own draws: means within four standard errors."""
    count, size = 3000, 32
    drawn = draw(ViewsConfig(crop_ratio=(3 / 4, 4 / 3)), count, (size, size), rng(6))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)
        crop = v2.RandomResizedCrop(size, scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3), antialias=True)
        boxes = [crop.make_params([torch.empty(3, size, size)]) for _ in range(count)]
    for name in ("top", "left", "height", "width"):
        ours = getattr(drawn, name)
        theirs = torch.tensor([float(box[name]) for box in boxes])
        error = math.sqrt((ours.var() + theirs.var()) / count)
        assert abs(ours.mean() - theirs.mean()) < 4 * error, name
        assert abs(ours.std() / theirs.std() - 1) < 0.1, name
    assert (drawn.top + drawn.height <= size).all()
    assert (drawn.left + drawn.width <= size).all()
    assert torch.equal(drawn.height, drawn.height.round())


def test_a_crop_that_never_fits_is_the_largest_central_one() -> None:
    config = ViewsConfig(crop_scale=(1.0, 1.0), crop_ratio=(2.0, 2.0))
    drawn = draw(config, 3, (32, 32), rng())
    assert [x[0].item() for x in (drawn.top, drawn.left, drawn.height, drawn.width)] == [
        8,
        0,
        16,
        32,
    ]


def test_parameters_follow_their_probabilities_and_ranges() -> None:
    count = 20_000
    config = ViewsConfig(blur=0.3, solarize=0.1)
    drawn = draw(config, count, (32, 32), rng(8))
    for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
        p = getattr(config, name)
        assert abs(getattr(drawn, name).float().mean() - p) < 4 * math.sqrt(p * (1 - p) / count)
    ranges = {
        "brightness": (0.6, 1.4),
        "contrast": (0.6, 1.4),
        "saturation": (0.6, 1.4),
        "hue": (-0.1, 0.1),
        "sigma": (0.1, 2.0),
    }
    for name, (low, high) in ranges.items():
        values = getattr(drawn, name)
        assert low - 1e-6 <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high + 1e-6


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crop_scale", [0.5, 0.2]),
        ("crop_scale", [0.5, 1.2]),
        ("crop_ratio", [0.0, 1.0]),
        ("blur_sigma", [2.0, 0.1]),
        ("hue", 0.6),
        ("flip", 1.5),
        ("jitter", "0.5"),
    ],
)
def test_the_config_refuses_what_makes_no_sense(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        ViewsConfig.model_validate({field: value})


@pytest.mark.parametrize("images", [torch.rand(2, 3, 8, 8), bytes_(2)[:, :1]])
def test_other_images_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="uint8 images with 3"):
        Views(ViewsConfig(), MEAN, STD)(images, rng())
