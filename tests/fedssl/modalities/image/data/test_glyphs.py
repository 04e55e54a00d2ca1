"""The set that is drawn on the spot."""

import numpy as np
import pytest
import torch

from fedssl.modalities import load
from fedssl.modalities.image.data.glyphs import FONTS, LETTERS, Glyphs, _draw


def test_what_it_holds() -> None:
    splits = load(Glyphs())
    assert splits.train.examples.shape == (5000, 3, 32, 32)
    assert splits.test.examples.shape == (1500, 3, 32, 32)
    for part in (splits.train, splits.test):
        assert part.class_names == tuple(LETTERS)
        share = torch.bincount(part.labels, minlength=len(LETTERS)) / len(part)
        assert ((share - 1 / len(LETTERS)).abs() < 0.02).all()
        assert set(part.fields["font"]) == set(range(len(FONTS)))


def test_every_letter_can_be_seen() -> None:
    """No image is blank: letter and ground differ by more than the noise."""
    images = load(Glyphs()).train.fetch().float() / 255
    assert images.mean(1).flatten(1).std(1).min() > 0.05


def test_no_image_comes_twice() -> None:
    splits = load(Glyphs())
    both = torch.cat([splits.train.fetch(), splits.test.fetch()]).numpy()
    assert len({image.tobytes() for image in both}) == 6500


@pytest.mark.parametrize("threads", [1, 2])
def test_always_the_same_whatever_the_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    first, second = _draw(), _draw.__wrapped__()
    for one, other in ((first.train, second.train), (first.test, second.test)):
        assert torch.equal(one.fetch(), other.fetch())
        assert torch.equal(one.labels, other.labels)


def test_a_limit_takes_a_balanced_part() -> None:
    section = {"name": "glyphs", "limit": {"train": 100, "test": 20}}
    splits = load(Glyphs.model_validate(section))
    assert torch.bincount(splits.train.labels).tolist() == [10] * 10
    assert torch.bincount(splits.test.labels).tolist() == [2] * 10


def test_normalisation_fits_the_images() -> None:
    config = Glyphs()
    images = load(config).train.fetch().float() / 255
    normalised = (images - torch.tensor(config.mean)) / torch.tensor(config.std)
    assert abs(float(normalised.mean())) < 0.1
    assert 0.8 < float(normalised.std()) < 1.25


def test_colour_alone_tells_nothing() -> None:
    """The letter's class is in its shape: the mean colour of a class is that of all."""
    splits = load(Glyphs())
    colours = splits.train.fetch().float().mean((2, 3)).numpy()
    spread = colours.std(0)
    for label in range(len(LETTERS)):
        own = colours[splits.train.labels.numpy() == label]
        assert (np.abs(own.mean(0) - colours.mean(0)) < 0.25 * spread).all()
