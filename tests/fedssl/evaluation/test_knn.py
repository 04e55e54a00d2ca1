"""The nearest-neighbour classifier against a naive loop."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedssl.evaluation import knn
from fedssl.evaluation.knn import predict_knn
from tests.tools.evaluation import blobs


def by_the_formula(
    features: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float
) -> list[int]:
    predicted = []
    for query in queries.double():
        neighbours = sorted(
            (-(query @ f / (query.norm() * f.norm())).item(), label)
            for f, label in zip(features.double(), labels.tolist(), strict=True)
            if label >= 0
        )
        votes: dict[int, float] = {}
        for similarity, label in neighbours[:k]:
            votes[label] = votes.get(label, 0.0) + math.exp(-similarity / temperature)
        predicted.append(max(votes, key=lambda label: votes[label]))
    return predicted


@given(st.integers(1, 30), st.sampled_from([0.07, 1.0]), st.integers(0, 99))
@settings(deadline=None, max_examples=15)
def test_it_is_the_formula(k: int, temperature: float, seed: int) -> None:
    features, labels = blobs(60, 5, spread=2, seed=seed)
    labels[::7] = -1
    queries, _ = blobs(20, 5, spread=2, seed=seed + 7)
    found = predict_knn(features, labels, queries, k, temperature).tolist()
    assert found == by_the_formula(features, labels, queries, k, temperature)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(100, 5, spread=2)
    queries, _ = blobs(50, 5, spread=2, seed=9)
    whole = predict_knn(features, labels, queries, 20, 0.07)
    monkeypatch.setattr(knn, "CHUNK", 7)
    assert torch.equal(predict_knn(features, labels, queries, 20, 0.07), whole)


def test_known_answers() -> None:
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    labels, query = torch.tensor([7, 3, 3]), torch.tensor([[5.0, 0.0]])
    # Similarities 1, 0.6, 0: at T = 1 e against e^0.6 + 1, at T = 0.1 the nearest decides.
    assert predict_knn(features, labels, query, 1, 1.0).tolist() == [7]
    assert predict_knn(features, labels, query, 3, 1.0).tolist() == [3]
    assert predict_knn(features, labels, query, 3, 0.1).tolist() == [7]
    # Fewer neighbours than k, and a temperature that would overflow e^(s/T).
    assert predict_knn(features, labels, query, 20, 1e-3).tolist() == [7]
