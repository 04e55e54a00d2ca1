"""Retrieval against scikit-learn and a hand-made ranking."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch.nn import functional as F

from fedssl.evaluation.retrieval import Retrieval, retrieval
from tests.tools.evaluation import Noisy, a_subject, blobs

measure = Retrieval(Retrieval.Config()).measure


def test_a_hand_made_ranking() -> None:
    # From the query, the gallery lies at growing angles: classes 1, 0, 0, 1.
    angles = torch.tensor([0.1, 0.2, 0.3, 0.4])
    gallery = torch.stack([angles.cos(), angles.sin()], 1)
    labels = torch.tensor([1, 0, 0, 1])
    query = torch.tensor([[5.0, 0.0]])
    found = retrieval(gallery, labels, query, torch.tensor([0]), (1, 2)).tolist()
    assert found == pytest.approx([(1 / 2 + 2 / 3) / 2, 0, 1])
    found = retrieval(gallery, labels, query, torch.tensor([1]), (1, 2)).tolist()
    assert found == pytest.approx([(1 + 2 / 4) / 2, 1, 1])


@given(st.integers(0, 99))
@settings(deadline=None, max_examples=15)
def test_map_is_scikit_learns(seed: int) -> None:
    gallery, labels = blobs(60, 5, spread=2, seed=seed)
    queries, wanted = blobs(20, 5, spread=2, seed=seed + 7)
    labels[::9] = -1
    similarity = (F.normalize(queries) @ F.normalize(gallery).T).numpy()
    expected = [
        average_precision_score((labels == label).numpy(), row)
        for row, label in zip(similarity, wanted, strict=True)
    ]
    found = retrieval(gallery, labels, queries, wanted)[0].item()
    assert found == pytest.approx(sum(expected) / len(expected), abs=1e-6)


def test_queries_without_a_counterpart_are_left_out() -> None:
    gallery, labels = blobs(30, 5)
    queries, wanted = blobs(6, 5, seed=3)
    both = torch.cat([queries, queries]), torch.cat([wanted, torch.tensor([-1, 9] * 3)])
    torch.testing.assert_close(
        retrieval(gallery, labels, *both), retrieval(gallery, labels, queries, wanted)
    )
    with pytest.raises(ValueError, match="no test example has a class"):
        retrieval(gallery, labels, queries, torch.full((6,), 9))


def test_colours_are_found() -> None:
    figures = measure(a_subject(Noisy())).figures
    assert figures["recall_at_1"] == 1
    assert figures["retrieval_map"] > 0.95
    assert figures.keys() == {"retrieval_map", "recall_at_1", "recall_at_5", "recall_at_10"}
