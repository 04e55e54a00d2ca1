"""Whole views against torchvision, image by image, and the laws of their random parameters."""

from collections.abc import Sequence
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.image.views.changes import Blur, Flip, Grayscale, Jitter, Solarize
from fedssl.modalities.image.views.crops import Crop
from fedssl.modalities.image.views.policies import POLICIES
from fedssl.modalities.image.views.recipe import Views
from fedssl.modalities.image.views.step import ImageStep
from fedssl.views.drawing import DRAWS
from fedssl.views.step import Step
from tests.tools.images import MEAN, STD, bytes_, normalised, rng

SIMCLR = POLICIES["simclr"].steps


def make(*steps: Step) -> Views:
    return Views(steps, MEAN, STD)


def drawn_of(steps: Sequence[Step], count: int, size: tuple[int, int], seed: int) -> list[Tensor]:
    """Return the parameters of each step, from the numbers that the recipe draws."""
    needed = [step.draws for step in steps]
    numbers = torch.rand(count, -(-sum(needed) // DRAWS) * DRAWS, generator=rng(seed))
    parts = torch.split(numbers[:, : sum(needed)], needed, 1)
    return [cast(ImageStep, step).draw(part, size) for step, part in zip(steps, parts, strict=True)]


def expected_change(view: Tensor, step: Step, drawn: list[float]) -> Tensor:
    """Do what a step says by torchvision's functions, one after the other."""
    match step:
        case Flip():
            view = tv.horizontal_flip(view)
        case Jitter():
            view = tv.adjust_brightness(view, drawn[1])
            view = tv.adjust_contrast(view, drawn[2])
            view = tv.adjust_saturation(view, drawn[3])
            view = tv.adjust_hue(view, drawn[4])
        case Grayscale():
            view = tv.rgb_to_grayscale(view, 3)
        case Blur():
            view = tv.gaussian_blur(view, [3, 3], [drawn[1]] * 2)
        case Solarize():
            # Rounding can put a value of ½ on either side: both give ½.
            view = tv.solarize(view, 0.5)
    return view


SHUFFLED = (Crop(), Blur(), Solarize(), Grayscale(), Flip(), Jitter())
SMALL = (Crop(side=0.5), Flip(), Jitter())
UNCROPPED = (Flip(), Jitter(), Flip())


@pytest.mark.parametrize(("height", "width"), [(32, 24), (32, 40)])
@pytest.mark.parametrize("steps", [(*SIMCLR, Blur(), Solarize()), SHUFFLED, SMALL, UNCROPPED])
def test_a_policy_is_torchvisions_functions_in_its_order(
    steps: Sequence[Step], height: int, width: int
) -> None:
    count = 140
    images = bytes_(count, height, width)
    parameters = [part.tolist() for part in drawn_of(steps, count, (height, width), 5)]
    views = make(*steps)(images, rng(5))
    for i in range(count):
        view = images[i].float() / 255
        for step, drawn in zip(steps, parameters, strict=True):
            if isinstance(step, Crop):
                size = [round(step.side * height), round(step.side * width)]
                view = tv.resized_crop(view, *map(int, drawn[i]), size, antialias=True)
            elif drawn[i][0]:
                view = expected_change(view, step, drawn[i])
        expected = tv.normalize(view, list(MEAN), list(STD))
        torch.testing.assert_close(views[i], expected, atol=1e-4, rtol=0)


def test_the_default_recipe_draws_what_it_always_did() -> None:
    """Earlier results can be repeated: 22 numbers place a crop, and an image takes 32."""
    steps = (*SIMCLR, Blur(), Solarize())
    assert [step.draws for step in steps] == [22, 1, 5, 1, 2, 1]
    first, second = rng(3), rng(3)
    make(*SIMCLR)(bytes_(7), first)
    torch.rand(7, 32, generator=second)
    assert torch.equal(first.get_state(), second.get_state())


@pytest.mark.parametrize("name", list(POLICIES))
def test_the_same_generator_state_gives_the_same_bits(name: str) -> None:
    views, images = make(*POLICIES[name].steps), bytes_(10)
    for view in (1, 2, 3):
        draws = rng(1)
        first, second = views(images, draws, view), views(images, draws, view)
        assert torch.equal(first, views(images, rng(1), view))
        assert not torch.equal(first, second)


@pytest.mark.parametrize("name", list(POLICIES))
def test_every_policys_views_are_in_range_and_of_the_size_that_it_says(name: str) -> None:
    views = Views(POLICIES[name].steps, (0.0,), (1.0,))
    images, spec = bytes_(40, 32, 24), ExampleSpec("image", (3, 32, 24), "uint8")
    images[:2] = torch.tensor([0, 255]).view(2, 1, 1, 1)
    before = images.clone()
    for view in (1, 2, 3, 9):
        made = views(images, rng(view), view)
        assert made.shape == (40, 3, *views.spec_of(spec, view).shape[1:])
        assert made.dtype == torch.float32
        assert made.min() > -1e-5
        assert made.max() < 1 + 1e-5
    assert torch.equal(images, before)


def test_each_image_has_parameters_of_its_own() -> None:
    images = bytes_(1).expand(20, -1, -1, -1)
    views = make(*SIMCLR)(images, rng(2)).flatten(1)
    distances = torch.cdist(views, views) + torch.eye(20)
    assert distances.min() > 0.5


@pytest.mark.parametrize("name", ["simclr", "byol", "saliency-crop"])
@given(cut=st.integers(1, 299))
@settings(deadline=None, max_examples=6)
def test_two_batches_are_the_one_they_make(name: str, cut: int) -> None:
    views, images, draws = make(*POLICIES[name].steps), bytes_(300, 8, 8), rng(4)
    parts = torch.cat([views(images[:cut], draws), views(images[cut:], draws)])
    torch.testing.assert_close(parts, views(images, rng(4)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("steps", [(), (Crop(scale=(1.0, 1.0), ratio=(1.0, 1.0)),)])
def test_without_augmentation_a_view_is_the_normalised_image(steps: Sequence[Step]) -> None:
    images = bytes_(200)
    views = make(*steps)(images, rng())
    torch.testing.assert_close(views, normalised(images), atol=1e-5, rtol=0)
    assert views.dtype == torch.float32


def test_one_constant_serves_all_channels() -> None:
    images = bytes_(2)
    views = Views((), (0.5,), (0.25,))(images, rng())
    torch.testing.assert_close(views, (images / 255 - 0.5) / 0.25, atol=1e-5, rtol=0)


@pytest.mark.parametrize("images", [torch.rand(2, 3, 8, 8), bytes_(2)[:, :1]])
def test_other_images_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="uint8 images with 3"):
        make(*SIMCLR)(images, rng())


@pytest.mark.parametrize("name", list(POLICIES))
@pytest.mark.parametrize("side", [32, 40])
def test_all_work_is_done_where_the_images_are(name: str, side: int) -> None:
    """By a device that computes nothing, but refuses tensors of another device."""
    views, images = make(*POLICIES[name].steps), bytes_(6, side, side).to("meta")
    for view in (1, 2, 3):
        assert views(images, rng(), view).device.type == "meta"
