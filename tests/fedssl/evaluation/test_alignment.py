"""Alignment and uniformity: known answers, and the formula pair by pair."""

import math

import pytest
import torch
from torch.nn import functional as F

from fedssl.evaluation import alignment as module
from fedssl.evaluation.alignment import Alignment, alignment, uniformity
from tests.tools.evaluation import Noisy, a_subject, rng

measure = Alignment(Alignment.Config()).measure


def test_orthogonal_features() -> None:
    features = 3 * torch.eye(6)
    assert alignment(features, features) == 0
    assert alignment(features, features.roll(1, 0)) == pytest.approx(2)
    assert alignment(features, -features) == pytest.approx(4)
    assert uniformity(features) == pytest.approx(-4)
    assert uniformity(torch.ones(5, 4)) == pytest.approx(0, abs=1e-5)
    assert uniformity(torch.tensor([[1.0], [-1.0]])) == pytest.approx(-8)


def test_uniformity_is_the_formula_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(23, 5, generator=rng())
    unit = F.normalize(features.double())
    pairs = torch.combinations(torch.arange(23), 2)
    distance = (unit[pairs[:, 0]] - unit[pairs[:, 1]]).square().sum(1)
    expected = math.log((-2 * distance).exp().mean().item())
    for chunk in (7, 512):
        monkeypatch.setattr(module, "CHUNK", chunk)
        assert uniformity(features) == pytest.approx(expected, abs=1e-5)


def test_an_encoder_is_measured_without_labels() -> None:
    figures = measure(a_subject(Noisy())).figures
    assert 0 < figures["alignment"] < 4
    assert -8 < figures["uniformity"] < 0
