"""Supervised learning, where not every example has a label."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from fedssl.model_state import federated_state, private_tensors
from fedssl.objectives.supervised import Supervised, labelled_cross_entropy
from tests.tools.objectives import gradients_are_finite, make_batch, make_objective, normal


def test_it_is_the_mean_over_the_labelled_examples() -> None:
    logits, labels = normal(4, 3), torch.tensor([2, -1, 0, -1])
    by_hand = [
        -math.log(math.exp(logits[i, labels[i]]) / sum(math.exp(x) for x in logits[i].tolist()))
        for i in (0, 2)
    ]
    found = labelled_cross_entropy(logits, labels).item()
    assert found == pytest.approx(sum(by_hand) / 2, rel=1e-5)


def test_known_values() -> None:
    labels = torch.tensor([0, 1, 2])
    assert labelled_cross_entropy(torch.zeros(3, 4), labels).item() == pytest.approx(math.log(4))
    assert labelled_cross_entropy(1000 * torch.eye(3), labels).item() == 0


def test_a_batch_without_labels_teaches_nothing() -> None:
    logits = normal(3, 4).requires_grad_()
    loss = labelled_cross_entropy(logits, torch.full((3,), -1))
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, logits)[0].any()


def test_gradients() -> None:
    logits = normal(4, 3, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([2, -1, 0, 1])
    assert torch.autograd.gradcheck(lambda x: labelled_cross_entropy(x, labels), [logits])


@pytest.mark.parametrize("scale", [0.0, 1e12, 1e-15])
def test_extreme_logits_stay_finite(scale: float) -> None:
    logits = (scale * normal(6, 5)).requires_grad_()
    assert gradients_are_finite(labelled_cross_entropy(logits, torch.arange(6) % 5), [logits])


def test_the_classifier_is_federated_and_sees_the_encoders_features() -> None:
    objective, batch = make_objective(Supervised, classes=3), make_batch(views=1)
    assert batch.labels is not None
    logits = objective.encoder(batch.views[0]) @ objective.classifier.weight.T
    expected = F.cross_entropy(logits + objective.classifier.bias, batch.labels)
    torch.testing.assert_close(objective(batch), expected)
    names = {n.split(".")[0] for n in federated_state(objective)}
    assert names == {"encoder", "classifier"}
    assert not private_tensors(objective)
    nothing = replace(batch, labels=torch.full((16,), -1))
    assert objective(nothing).item() == 0


def test_labels_that_it_cannot_learn_from_are_refused_with_the_fix() -> None:
    objective = make_objective(Supervised, classes=3)
    objective.check(torch.tensor([0, -1, 2]))
    with pytest.raises(ValueError, match=r"objective\.classes = 3: .* up to 5; set it to 6"):
        objective.check(torch.tensor([0, 5]))
    with pytest.raises(ValueError, match="none of the training examples has a label"):
        objective.check(torch.tensor([-1, -1]))
