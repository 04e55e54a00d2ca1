"""LiDAR's known answers."""

import math

import numpy as np
import pytest
import torch

from fedssl.evaluation import lidar as module
from fedssl.evaluation.lidar import LiDAR, lidar
from tests.tools.evaluation import Noisy, a_subject, rng

measure = LiDAR(LiDAR.Config()).measure


def by_the_formula(features: torch.Tensor, delta: float) -> float:
    z = features.double().numpy()
    count, views, width = z.shape
    mean = z.reshape(-1, width).mean(0)
    between, within = np.zeros((width, width)), delta * np.eye(width)
    for example in z:
        center = example.mean(0)
        between += np.outer(center - mean, center - mean) / count
        for view in example:
            within += np.outer(view - center, view - center) / (count * views)
    values, vectors = np.linalg.eigh(within)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    found = np.linalg.eigvalsh(root @ between @ root).clip(0)
    p = found[found > 0] / found.sum()
    return math.exp(-(p * np.log(p)).sum())


def test_it_is_the_formula() -> None:
    features = torch.randn(12, 1, 5, generator=rng()) + 0.3 * torch.randn(
        12, 4, 5, generator=rng(1)
    )
    for delta in (1e-4, 1.0):
        assert lidar(features, delta) == pytest.approx(by_the_formula(features, delta), rel=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_examples_along_r_orthogonal_directions_use_r_dimensions(rank: int) -> None:
    axes = torch.eye(8)[:rank]
    examples = torch.cat([axes, -axes])
    assert lidar(examples[:, None].expand(-1, 5, -1)) == pytest.approx(rank)


def test_what_views_scatter_over_counts_for_little() -> None:
    # Two directions of equal variance between examples; along the second, views scatter, too.
    axes = torch.eye(2)
    examples = torch.cat([axes, -axes])[:, None]
    scatter = torch.tensor([[0.0, 30.0], [0.0, -30.0]])
    assert lidar(examples + 0 * scatter) == pytest.approx(2)
    assert lidar(examples + scatter) == pytest.approx(1, abs=1e-3)


def test_features_that_are_all_the_same_use_none() -> None:
    assert lidar(torch.ones(4, 3, 5)) == 0


def test_an_encoder_is_measured_without_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VIEWS", 4)
    said: list[str] = []
    subject = a_subject(Noisy(), on_progress=said.append)
    found = measure(subject)
    assert 1 <= found.figures["lidar"] <= 8
    assert found == measure(subject)
    assert said[:2] == ["view 1 of 4", "view 2 of 4"]
