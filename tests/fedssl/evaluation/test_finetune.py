"""Fine-tuning on few labels, and the probe with augmentation."""

import pytest
import torch
from torch import nn

from fedssl.data import Splits
from fedssl.evaluation import finetune
from fedssl.evaluation.augmented import Augmented
from fedssl.evaluation.finetune import FineTune, FineTuneHead
from tests.tools.evaluation import Noisy, a_subject, colors, rng


def test_the_whole_network_learns_what_the_frozen_encoder_does_not_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finetune, "EPOCHS", {1: 2, 10: 100})
    splits = Splits(colors(600), colors(45, seed=1))
    encoder = Noisy()
    encoder.layers[3] = nn.Identity()
    with torch.no_grad():
        for parameter in encoder.layers[0].parameters():
            # Nearly blind: all features are almost alike.
            parameter.mul_(1e-6)
    before = {n: t.clone() for n, t in encoder.state_dict().items()}
    subject = a_subject(encoder, splits)
    tuned = FineTune(FineTune.Config()).measure(subject)
    assert tuned.details == {"labels_1": 6, "labels_10": 60}
    assert tuned.figures["finetuned_10_accuracy"] > 0.9
    assert tuned == FineTune(FineTune.Config()).measure(subject)
    assert all(torch.equal(before[n], t) for n, t in encoder.state_dict().items())
    assert all(module.training for module in encoder.modules())


def test_the_head_alone_is_the_linear_probe_on_the_same_labels() -> None:
    subject = a_subject(Noisy(), Splits(colors(300), colors(45, seed=1)))
    found = FineTuneHead(FineTuneHead.Config()).measure(subject)
    assert found.figures == {"head_1_accuracy": 1, "head_10_accuracy": 1}
    assert found.details == {"labels_1": 3, "labels_10": 30}
    rows = finetune.few(subject, 10)
    assert subject.examples.train.labels[torch.from_numpy(rows)].bincount().tolist() == [10] * 3


def test_a_last_batch_of_one_example_is_left_out() -> None:
    examples, labels = colors(65).fetch(), colors(65).labels
    subject = a_subject(Noisy())
    view = subject.weak_view
    tuned = finetune.finetune(Noisy(), examples, labels, view, rng(), epochs=1)
    assert not any(module.training for module in tuned.modules())


def test_the_probe_with_augmentation_sees_crops_and_no_colour_changes() -> None:
    subject = a_subject(Noisy())
    assert Augmented(Augmented.Config()).measure(subject).figures == {"augmented_accuracy": 1}
    view = subject.weak_view
    flat = torch.full((4, 3, 8, 8), 77, dtype=torch.uint8)
    shown = view(flat, rng())
    torch.testing.assert_close(shown, shown[:1, :, :1, :1].expand(4, 3, 8, 8))
