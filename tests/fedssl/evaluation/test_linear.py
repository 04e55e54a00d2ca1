"""The linear probe against scikit-learn and its optimality conditions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from fedssl.evaluation.linear import accuracy, fit_linear
from tests.tools.evaluation import blobs, rng


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize(("count", "width", "spread"), [(300, 20, 2.0), (40, 60, 1.0)])
def test_it_is_scikit_learns(l2: float, count: int, width: int, spread: float) -> None:
    features, labels = blobs(count, width, spread=spread)
    features = features * torch.logspace(-2, 2, width) + 5
    probe = fit_linear(features, labels, l2)

    scaler = StandardScaler().fit(features.double().numpy())
    x, y = scaler.transform(features.double().numpy()), labels.numpy()
    # Newton's method: exact, so the difference is ours: tolerance over least curvature, l2.
    theirs = LogisticRegression(C=1 / (l2 * count), solver="newton-cholesky", tol=1e-10).fit(x, y)
    cross_entropy = -np.mean(np.log(theirs.predict_proba(x)[np.arange(count), y]))
    minimum = cross_entropy + l2 / 2 * np.square(theirs.coef_).sum()
    assert probe.objective == pytest.approx(minimum, abs=1e-7)
    standardised = probe.weight.numpy() * scaler.scale_
    np.testing.assert_allclose(standardised, theirs.coef_, atol=1e-6 / l2)
    queries, _ = blobs(200, width, spread=spread, seed=50)
    queries = queries * torch.logspace(-2, 2, width) + 5
    expected = theirs.predict(scaler.transform(queries.double().numpy()))
    assert np.mean(probe.predict(queries).numpy() == expected) >= 0.995


@given(st.integers(5, 60), st.integers(1, 30), st.integers(1, 5), st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_the_gradient_vanishes_at_the_solution(
    count: int, width: int, classes: int, seed: int
) -> None:
    l2 = 1e-3
    features, labels = blobs(count, width, classes, seed=seed)
    probe = fit_linear(features, labels, l2)
    x = features.double()
    std = x.std(0, correction=0)
    x = (x - x.mean(0)) / std
    weight = (probe.weight * std).requires_grad_()
    bias = (probe.bias + probe.weight @ features.double().mean(0)).requires_grad_()
    target = torch.searchsorted(probe.labels, labels)
    loss = F.cross_entropy(x @ weight.T + bias, target) + l2 / 2 * weight.square().sum()
    assert loss.item() == pytest.approx(probe.objective, abs=1e-9)
    gradients = torch.autograd.grad(loss, [weight, bias])
    assert max(g.abs().max().item() for g in gradients) < 1e-4


def test_separable_classes_are_told_apart() -> None:
    labels = torch.arange(30) % 3
    features = F.one_hot(labels).float()
    assert accuracy(fit_linear(features, labels, 1e-4).predict(features), labels) == 1


def test_unlabelled_rows_are_left_out() -> None:
    features, labels = blobs(100, 6)
    expected = fit_linear(features[:60], labels[:60], 1e-2)
    labels[60:] = -1
    probe = fit_linear(features, labels, 1e-2)
    assert torch.equal(probe.weight, expected.weight)


def test_only_labels_that_were_seen_are_predicted() -> None:
    features, labels = blobs(100, 6, classes=3)
    probe = fit_linear(features, labels * 5 + 2, 1e-2)
    assert probe.labels.tolist() == [2, 7, 12]
    assert torch.equal(
        probe.predict(features), fit_linear(features, labels, 1e-2).predict(features) * 5 + 2
    )


def test_constant_and_duplicate_features_do_no_harm() -> None:
    features, labels = blobs(100, 6, spread=2)
    constant = torch.full((100, 1), 0.1)
    probe = fit_linear(torch.cat([features, features, constant, 0 * constant], 1), labels, 1e-3)
    assert probe.weight.isfinite().all()
    assert torch.equal(probe.weight[:, 12:], torch.zeros(4, 2, dtype=torch.float64))
    torch.testing.assert_close(probe.weight[:, :6], probe.weight[:, 6:12], atol=1e-4, rtol=1e-3)


def test_it_is_deterministic() -> None:
    features, labels = blobs(200, 10, spread=2)
    first, second = (fit_linear(features, labels, 1e-3) for _ in range(2))
    assert torch.equal(first.weight, second.weight)


def test_what_cannot_be_fitted_is_explained() -> None:
    features, labels = blobs(10, 3)
    with pytest.raises(ValueError, match="labelled"):
        fit_linear(features, torch.full((10,), -1), 1e-3)
    features[3, 1] = torch.nan
    with pytest.raises(ValueError, match="not all finite"):
        fit_linear(features, labels, 1e-3)


def test_accuracy_counts_labelled_rows_only() -> None:
    assert accuracy(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, -1])) == pytest.approx(2 / 3)
    chance = accuracy(torch.randint(4, (4000,), generator=rng(5)), blobs(4000, 1)[1])
    assert chance == pytest.approx(0.25, abs=0.03)
