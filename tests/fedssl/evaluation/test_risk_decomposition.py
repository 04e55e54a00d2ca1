"""Risk decomposition: parts that add up, and what each is for."""

import numpy as np
import pytest
import torch

from fedssl.evaluation.risk_decomposition import Risk, decompose
from tests.tools.evaluation import Noisy, a_subject, blobs, rng

measure = Risk(Risk.Config()).measure


def test_the_parts_add_up_to_the_risk_of_the_probe() -> None:
    train, labels = blobs(120, 6, spread=2)
    test, test_labels = blobs(60, 6, spread=2, seed=5)
    found = decompose(train, labels, test, test_labels, np.arange(0, 120, 10), 1e-2)
    assert sum(v for k, v in found.items() if k != "risk") == pytest.approx(found["risk"])
    assert 0 < found["risk"] < 1


def test_each_kind_of_error_is_found_where_it_is() -> None:
    sub = np.arange(0, 200, 10)
    clear, labels = blobs(200, 40, spread=0.1)
    test, test_labels = blobs(100, 40, spread=0.1, seed=5)
    assert decompose(clear, labels, test, test_labels, sub, 1e-3)["risk"] == 0
    # Features that say nothing, fewer than can be learned by heart: nothing is usable.
    noise = torch.randn(200, 1, generator=rng())
    found = decompose(noise, labels, torch.randn(100, 1, generator=rng(1)), test_labels, sub, 1e-3)
    assert found["risk_usability"] > 0.5
    # As many as there are examples: learned by heart, and wrong on all others.
    noise = torch.randn(200, 400, generator=rng())
    other = torch.randn(100, 400, generator=rng(1))
    found = decompose(noise, labels, other, test_labels, sub, 1e-4)
    assert found["risk_usability"] == 0
    assert found["risk_probe_generalisation"] > 0.4
    # An encoder that gives the answer for training examples alone.
    found = decompose(clear, labels, other[:, :40], test_labels, sub, 1e-3)
    assert found["risk_usability"] == found["risk_probe_generalisation"] == 0
    assert found["risk_encoder_generalisation"] > 0.4


def test_colours_leave_no_risk() -> None:
    assert set(measure(a_subject(Noisy())).figures.values()) == {0}
