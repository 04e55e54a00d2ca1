import importlib.util
import math

import pytest
from torchvision import transforms

from fedssl.modalities.image.views.changes import Flip, Grayscale, Jitter
from fedssl.modalities.image.views.crops import Crop
from tests.benchmarks.peers import lightly

needs_lightly = pytest.mark.skipif(
    lightly.missing() is not None, reason=lightly.missing() or "is installed"
)


def test_what_is_missing_is_said_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'lightly" in (lightly.missing() or "")


@needs_lightly
@pytest.mark.filterwarnings("ignore:.*to_tensor.*:UserWarning")
def test_views_are_counted_by_cpu_time() -> None:
    speed = lightly.views_per_cpu_second(20)
    assert 0 < speed < math.inf


@needs_lightly
def test_lightly_gets_the_strengths_of_our_recipe() -> None:
    ours = Jitter()
    text = repr(lightly.transform().transforms[0].transform)
    jitter = transforms.ColorJitter(ours.brightness, ours.contrast, ours.saturation, ours.hue)
    assert repr(jitter) in text
    assert f"scale={Crop().scale}" in text
    assert f"RandomGrayscale(p={Grayscale().probability})" in text
    assert f"RandomHorizontalFlip(p={Flip().probability})" in text
