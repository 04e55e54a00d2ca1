"""Representation harm: a hand-made confusion, and clients that are served badly."""

import numpy as np
import pytest
import torch
from sklearn.metrics import recall_score

from fedssl.data import Splits
from fedssl.evaluation.harm import Harm, by_group, extremes, held_out_predictions
from tests.tools.evaluation import Noisy, a_subject, blobs, color_splits, colors, rng

measure = Harm(Harm.Config()).measure


def test_a_hand_made_confusion() -> None:
    # Class 0: 3 of 4 right; 1: 1 of 2; 2: 0 of 1; 3: none.
    labels = np.array([0, 0, 0, 0, 1, 1, 2, -1])
    right = np.array([1, 1, 1, 0, 1, 0, 0, 1], bool)
    accuracy, count = by_group(right, labels, 4)
    assert accuracy.tolist()[:3] == [0.75, 0.5, 0]
    assert np.isnan(accuracy[3])
    assert count.tolist() == [4, 2, 1, 0]
    assert extremes(accuracy, count, least=2) == (0.5, 0.25)
    assert extremes(accuracy, count, least=100) == (0.75, 0)


def test_by_class_it_is_scikit_learns_recall() -> None:
    labels, predicted = (torch.randint(4, (80,), generator=rng(n)).numpy() for n in (0, 1))
    accuracy, _ = by_group(predicted == labels, labels, 4)
    assert accuracy.tolist() == pytest.approx(recall_score(labels, predicted, average=None))


def test_predictions_are_by_probes_that_did_not_see_the_example() -> None:
    # As many features as examples: what a probe has seen it knows by heart.
    features = torch.randn(60, 120, generator=rng())
    labels = torch.randint(2, (60,), generator=rng(1))
    predicted = held_out_predictions(features, labels, 1e-4, rng(2))
    assert 0.25 < (predicted == labels).double().mean() < 0.75
    features, labels = blobs(60, 30, spread=0.1)
    assert held_out_predictions(features, labels, 1e-3, rng()).equal(labels)
    assert held_out_predictions(features[:2], labels[:2], 1e-3, rng()).shape == (2,)


def test_a_client_whose_examples_say_nothing_is_the_worst() -> None:
    splits, owner = color_splits(), np.arange(90) // 30
    noise = torch.randint(0, 256, (30, 3, 8, 8), generator=rng(3), dtype=torch.uint8)
    examples = torch.cat([splits.train.fetch()[:60], noise])
    train = type(splits.train)(examples, splits.train.labels, splits.train.class_names)
    found = measure(a_subject(Noisy(), Splits(train, splits.test), owner=owner))
    accuracy = found.details["client_accuracy"]
    assert accuracy[0] > 0.9
    assert accuracy[2] == found.figures["worst_client_accuracy"] < 0.7
    assert found.figures["client_gap"] == max(accuracy) - accuracy[2]
    assert found.details["client_examples"] == [30, 30, 30]
    assert found.details["classes"] == ["red", "green", "blue"]
    assert found.figures["worst_class_accuracy"] == min(found.details["class_accuracy"])


def test_without_clients_it_goes_by_class_and_without_labels_it_says_so() -> None:
    assert measure(a_subject(Noisy())).figures == {"worst_class_accuracy": 1, "class_gap": 0}
    with pytest.raises(ValueError, match="needs labels"):
        measure(a_subject(Noisy(), Splits(colors(9), colors(9, labelled=False))))
