"""What holds for every measure by name."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedssl.data import Limit
from fedssl.evaluation import MEASURES, EvaluationConfig, evaluate, gather, measure
from fedssl.evaluation import finetune as finetuning
from fedssl.evaluation import lidar as lidar_module
from tests.fedssl.evaluation.tools import PREPARATION, Noisy, a_subject, color_splits

ONE_ENCODER = [name for name, entry in MEASURES.items() if entry.of_a_round]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lidar_module, "VIEWS", 3)
    monkeypatch.setattr(finetuning, "EPOCHS", {1: 2, 10: 2})


@pytest.mark.parametrize("name", [n for n in ONE_ENCODER if n not in ("map-tsne", "map-umap")])
def test_the_encoder_is_left_as_it_is_and_cores_change_no_bit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, other = Noisy(), Noisy()
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        subject = a_subject(encoder, owner=np.arange(90) % 3, after_update=lambda _: other)
        found.append(measure(name, subject))
    assert found[0] == found[1]
    assert all(isinstance(value, float) for value in found[0].figures.values())
    fresh = Noisy().state_dict()
    assert all(torch.equal(fresh[n], t) for n, t in encoder.state_dict().items())
    assert all(module.training for module in encoder.modules())


@pytest.mark.parametrize("name", ONE_ENCODER)
def test_the_table_tells_which_need_labels(name: str) -> None:
    subject = a_subject(Noisy(), color_splits(labelled=False))
    if MEASURES[name].labels:
        with pytest.raises(ValueError, match=f"^{name}: needs labels"):
            measure(name, subject)
    elif name in ("rankme", "lidar", "alignment", "map"):
        assert measure(name, subject).figures


def test_the_usual_three_are_those_of_a_round() -> None:
    encoder, splits = Noisy(), color_splits()
    config = EvaluationConfig(limit=Limit(train=40, test=20))
    examples = gather(splits, config)
    subject = replace(a_subject(encoder, splits), examples=examples, config=config)
    found: dict[str, float] = {}
    for name in ("rankme", "linear", "knn"):
        found |= measure(name, subject).figures
    assert found == evaluate(encoder, examples, config, PREPARATION)


def test_clients_are_those_of_the_examples_that_are_left() -> None:
    splits, config = color_splits(), EvaluationConfig(limit=Limit(train=6))
    examples = gather(splits, config)
    owner = np.arange(90)
    subject = replace(a_subject(Noisy(), splits, owner=owner), examples=examples)
    assert subject.clients is not None
    assert torch.equal(examples.train.fetch(), splits.train.fetch(subject.clients))


def test_features_that_are_not_finite_are_refused() -> None:
    encoder = Noisy()
    with torch.no_grad():
        next(encoder.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match="rankme: the encoder's features are not all finite"):
        measure("rankme", a_subject(encoder))


@pytest.mark.parametrize(
    ("name", "why"), [("lidr", "did you mean lidar"), ("sslmem", "whole runs")]
)
def test_a_round_is_measured_by_what_there_is(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        EvaluationConfig(measures=(name,))
