"""Batch Styles Standardization: the laws of its swap, against a naive one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fedssl.modalities.image.views.recipe import Views
from fedssl.modalities.image.views.styles import BatchStyles, restyled
from tests.tools.images import (
    MEAN,
    STD,
    bytes_,
    floats,
    normalised,
    rng,
    uniform,
)


def naive(image: np.ndarray, style: np.ndarray, share: float) -> np.ndarray:
    """Swap one channel's amplitudes frequency by frequency, over the whole plane."""
    own, other = np.fft.fft2(image), np.fft.fft2(style)
    height, width = image.shape
    for row, down in enumerate(np.fft.fftfreq(height)):
        for column, across in enumerate(np.fft.fftfreq(width)):
            if max(abs(down), abs(across)) <= share / 2:
                angle = np.angle(own[row, column])
                own[row, column] = np.abs(other[row, column]) * np.exp(1j * angle)
    swapped = np.fft.ifft2(own)
    assert np.abs(swapped.imag).max() < 1e-9
    return swapped.real


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (9, 12)])
def test_the_swap_is_the_naive_one(share: float, height: int, width: int) -> None:
    images = bytes_(4, height, width).double() / 255
    found = restyled(images, images[2:3], share)
    for image, made in zip(images, found, strict=True):
        for channel in range(3):
            expected = naive(image[channel].numpy(), images[2, channel].numpy(), share)
            np.testing.assert_allclose(made[channel].numpy(), expected, atol=1e-9)


@given(st.floats(0, 1), st.integers(2, 20), st.integers(2, 20), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_phase_stays_and_low_amplitudes_are_the_styles(
    share: float, height: int, width: int, seed: int
) -> None:
    images = bytes_(3, height, width, seed).double() / 255
    before, after = torch.fft.fft2(images), torch.fft.fft2(restyled(images, images[:1], share))
    frequencies = [torch.fft.fftfreq(n, dtype=torch.float64).abs() for n in (height, width)]
    low = torch.maximum(frequencies[0][:, None], frequencies[1]) <= share / 2
    expected = torch.where(low, before[:1].abs(), before.abs())
    torch.testing.assert_close(after.abs(), expected, atol=1e-6, rtol=1e-6)
    # The same direction in the complex plane, wherever there is one.
    torch.testing.assert_close(after * before.abs(), before * after.abs(), atol=1e-4, rtol=1e-4)


def test_a_batch_of_one_style_has_one_mean_colour() -> None:
    images = floats(5)
    means = restyled(images, images[3:4], 0.0).mean((2, 3))
    torch.testing.assert_close(means, images[3].mean((1, 2)).expand(5, -1))


def test_an_image_in_its_own_style_stays_and_a_black_one_takes_the_colour() -> None:
    images = torch.cat([floats(1), torch.zeros(1, 3, 32, 32)])
    made = restyled(images, images[:1], 0.5)
    torch.testing.assert_close(made[0], images[0])
    torch.testing.assert_close(made[1].mean((1, 2)), images[0].mean((1, 2)))


def test_all_of_a_batch_get_the_style_of_one_image_also_over_chunks() -> None:
    step = BatchStyles(share=(0.01, 0.01))
    images, count = bytes_(300), 300
    which = int(step.draw(uniform(count, 32, 5)[:, :2], (32, 32))[0, 0])
    views = Views([step], MEAN, STD)(images, rng(5))
    expected = (images[which] / 255).mean((1, 2))
    found = (views * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)).mean(
        (2, 3)
    )
    torch.testing.assert_close(found, expected.expand(count, -1), atol=2e-3, rtol=0)
    torch.testing.assert_close(views[which], normalised(images[which]), atol=1e-4, rtol=0)


def test_each_view_takes_another_style_and_shares_stay_in_their_range() -> None:
    step = BatchStyles(share=(0.1, 0.3))
    drawn = torch.stack([step.draw(uniform(8, 2, seed), (32, 32))[0] for seed in range(200)])
    assert set(drawn[:, 0].tolist()) == set(range(8))
    assert 0.1 <= drawn[:, 1].min() < 0.11
    assert 0.29 < drawn[:, 1].max() < 0.3


@pytest.mark.parametrize("value", [[0.3, 0.1], [0.1, 1.5], [0.0, 1.0]])
def test_a_share_is_a_range_up_to_one(value: list[float]) -> None:
    with pytest.raises(ValidationError, match="share"):
        BatchStyles.model_validate({"share": value})
