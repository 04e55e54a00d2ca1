"""The steps that change an image."""

import math

import pytest
import torch

from fedssl.modalities.image.views.changes import Blur, Change, Flip, Grayscale, Jitter, Solarize
from fedssl.modalities.image.views.recipe import Views
from fedssl.views.step import Step
from tests.tools.images import MEAN, STD, bytes_, normalised, rng, uniform

STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


def make(*steps: Step) -> Views:
    return Views(steps, MEAN, STD)


@pytest.mark.parametrize(
    "step",
    [Flip(), Jitter(), Grayscale(), Blur(sigma=(1.0, 1.0)), Solarize()],
    ids=lambda s: s.name,
)
def test_probability_one_changes_every_image_and_zero_none(step: Change) -> None:
    images = bytes_(6)
    before = images.clone()
    for probability in (0.0, 1.0):
        views = make(step.model_copy(update={"probability": probability}))(images, rng())
        changed = (views - normalised(images)).abs().amax((1, 2, 3))
        assert (changed > 0.1).all() if probability else (changed < 1e-5).all()
    assert torch.equal(images, before)


def test_a_jitter_of_strength_zero_is_the_identity() -> None:
    images = bytes_(6)
    views = make(Jitter.model_validate({"probability": 1.0, **STILL}))(images, rng())
    torch.testing.assert_close(views, normalised(images), atol=1e-5, rtol=0)


def test_parameters_follow_their_probabilities_and_ranges() -> None:
    count = 20_000
    ranges: dict[Change, list[tuple[float, float]]] = {
        Flip(): [],
        Jitter(): [(0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1)],
        Grayscale(): [],
        Blur(probability=0.3): [(0.1, 2.0)],
        Solarize(probability=0.1): [],
    }
    for step, bounds in ranges.items():
        drawn = step.draw(uniform(count, step.draws, 8), (32, 32))
        p = step.probability
        assert abs(drawn[:, 0].mean() - p) < 4 * math.sqrt(p * (1 - p) / count)
        for values, (low, high) in zip(drawn[:, 1:].unbind(1), bounds, strict=True):
            assert low - 1e-6 <= values.min() < low + 0.01 * (high - low)
            assert high - 0.01 * (high - low) < values.max() <= high + 1e-6


def test_a_step_is_for_the_views_that_it_says() -> None:
    images, grey = bytes_(5), Grayscale(probability=1.0, first_view=2, last_view=3)
    views = [make(grey)(images, rng(), view) for view in (1, 2, 3, 4)]
    for view in (views[0], views[3]):
        torch.testing.assert_close(view, normalised(images), atol=1e-5, rtol=0)
    for view in views[1:3]:
        values = view * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
        torch.testing.assert_close(values[:, 0], values[:, 2])
