"""The whole central evaluation."""

import math
import os

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from fedssl.data import Dataset, Limit, Splits
from fedssl.evaluation import EvaluationConfig, MeasureConfig, evaluate, gather, linear
from fedssl.evaluation.features import extract
from fedssl.evaluation.linear import LinearProbe, fit_linear
from fedssl.evaluation.rankme import rankme
from tests.tools.evaluation import PREPARATION, Noisy, a_subject, color_splits, colors


def measure(encoder: nn.Module, splits: Splits, config: EvaluationConfig) -> dict[str, float]:
    return dict(evaluate(a_subject(encoder, splits, config)).figures)


def test_colours_are_told_apart() -> None:
    encoder, splits = Noisy(), color_splits()
    measures = measure(encoder, splits, EvaluationConfig())
    assert measures.keys() == {"rankme", "linear_accuracy", "knn_accuracy"}
    assert measures["linear_accuracy"] == 1
    assert measures["knn_accuracy"] == 1
    assert measures["rankme"] == rankme(extract(encoder, splits.test.fetch(), PREPARATION))
    assert all(m.training for m in encoder.modules())


def test_random_labels_are_at_chance() -> None:
    splits = color_splits()
    splits.train.labels.copy_(torch.randint(3, (90,), generator=torch.Generator().manual_seed(0)))
    measures = measure(Noisy(), splits, EvaluationConfig(l2=0.1))
    for name in ("linear_accuracy", "knn_accuracy"):
        assert measures[name] < 0.75


def test_statistics_that_do_not_fit_are_seen_and_recalibrated() -> None:
    encoder = Noisy()
    norm = encoder.layers[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    # ReLU silences a channel whose running mean is far off: nothing is left to see.
    norm.running_mean.add_(1e4 * norm.weight.detach().sign())
    wrong = norm.running_mean.clone()
    measures = measure(encoder, color_splits(), EvaluationConfig(recalibrate_bn=True))
    assert measures["linear_accuracy"] < 0.5
    assert measures["linear_accuracy_recalibrated"] == 1
    assert torch.equal(norm.running_mean, wrong)


def test_unlabelled_training_examples_are_left_out_and_without_any_only_rankme_is_left() -> None:
    encoder, splits = Noisy(), color_splits()
    half = torch.arange(90) < 45
    splits.train.labels[half] = -1
    mixed = measure(encoder, splits, EvaluationConfig())
    kept = splits.train.take(half.logical_not().numpy().nonzero()[0])
    assert mixed == measure(encoder, Splits(kept, splits.test), EvaluationConfig())
    for unlabelled in (color_splits(labelled=False), Splits(colors(9), colors(9, labelled=False))):
        assert measure(encoder, unlabelled, EvaluationConfig()).keys() == {"rankme"}


def test_a_limit_keeps_some_of_each_class() -> None:
    encoder = Noisy()
    config = EvaluationConfig(limit=Limit(train=6, test=5))
    measures = measure(encoder, color_splits(), config)
    assert measures == measure(encoder, color_splits(), config)
    assert 1 <= measures["rankme"] <= 5
    assert math.isclose(measures["linear_accuracy"] * 5, round(measures["linear_accuracy"] * 5))
    assert measures["linear_accuracy"] > 0.5


def test_what_is_in_memory_is_not_copied() -> None:
    splits = color_splits()
    examples = gather(splits, EvaluationConfig())
    assert examples.train is splits.train
    assert examples.test is splits.test
    assert len(examples.recalibration) == 0


def test_cores_and_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    before, found = torch.get_num_threads(), []
    try:
        for cores in (1, 3):
            torch.set_num_threads(cores)
            monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
            config = EvaluationConfig(recalibrate_bn=True)
            found.append(measure(Noisy(), color_splits(), config))
            assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("field", "value"),
    [("every", 0), ("probe", "knn"), ("l2", 0.0), ("knn_k", 0), ("knn_temperature", 0.0)],
)
def test_the_config_refuses_what_makes_no_sense(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        EvaluationConfig.model_validate({field: value})


def test_validation_scores_on_labelled_training_examples_that_no_probe_saw() -> None:
    splits = color_splits()
    splits.train.labels[:30] = -1
    splits.train.fetch()[:, 0, 0, 0] = torch.arange(90, dtype=torch.uint8)  # which example it is
    examples = gather(splits, EvaluationConfig(split="validation"))
    fitted, scored = _which(examples.train), _which(examples.test)
    assert len(scored) == 12
    assert fitted | scored == set(range(30, 90))
    assert not fitted & scored
    counts = torch.bincount(examples.test.labels)
    shares = torch.bincount(splits.train.labels[30:]) / 5
    assert torch.equal(counts, shares.round().long())
    limited = EvaluationConfig(split="validation", limit=Limit(train=9, test=6))
    examples = gather(splits, limited)
    assert (len(examples.train), len(examples.test)) == (9, 6)
    assert _which(examples.test) <= scored


def _which(examples: Dataset) -> set[int]:
    return set(examples.fetch()[:, 0, 0, 0].tolist())


def test_what_the_probe_took_each_example_for_is_told() -> None:
    splits = color_splits()
    measured = evaluate(a_subject(Noisy(), splits, EvaluationConfig(l2=10.0)))
    assert measured.predictions is not None
    right = (measured.predictions == splits.test.labels).double().mean().item()
    assert measured.figures["linear_accuracy"] == right
    assert evaluate(a_subject(Noisy(), color_splits(labelled=False))).predictions is None


class Counting(Noisy):
    """Counts the examples that pass."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, examples: Tensor) -> Tensor:
        self.seen += len(examples)
        return super().forward(examples)


def test_features_are_extracted_once_for_all_measures() -> None:
    names = ["linear", "harm", "risk", "retrieval", "finetune-head", "knn", "rankme"]
    encoder = Counting()
    measured = evaluate(a_subject(encoder), named(*names))
    assert encoder.seen == 90 + 45
    assert {"risk", "class_gap", "retrieval_map", "head_1_accuracy"} < measured.figures.keys()


def test_a_further_measure_that_is_a_default_one_is_measured_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fits: list[float] = []

    def fit(features: Tensor, labels: Tensor, l2: float) -> LinearProbe:
        fits.append(l2)
        return fit_linear(features, labels, l2)

    monkeypatch.setattr(linear, "fit_linear", fit)
    assert list(evaluate(a_subject(Noisy()), named("linear", "lidar")).figures) == [
        "rankme",
        "linear_accuracy",
        "knn_accuracy",
        "lidar",
    ]
    assert len(fits) == 1


def named(*names: str) -> tuple[MeasureConfig, ...]:
    return EvaluationConfig.model_validate({"measures": list(names)}).measures


def test_features_that_are_not_finite_say_what_may_help() -> None:
    encoder = Noisy()
    with torch.no_grad():
        next(encoder.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match=r"^the encoder's features became infinite or NaN: try a"):
        evaluate(a_subject(encoder))
