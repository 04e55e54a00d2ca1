"""How the figures of measures are told."""

import math

import pytest

from fedssl.evaluation import MEASURES, MetricDescription
from fedssl.evaluation.metrics import METRICS
from simulations.comparing.metric import LINEAR, RANKME
from simulations.progress.display import describe
from simulations.record.metric_names import (
    ALWAYS,
    description_of,
    extra_metrics,
    format_metric,
    metric_label,
)
from simulations.record.tables import _Row

ROW = {
    "round": 2,
    "cohort": [0, 1],
    "train_loss": 2.5,
    "linear_accuracy": 0.5,
    "rankme": 9.0,
    "lidar": 72.46,
    "worst_class_accuracy": 0.215,
    "class_gap": 0.41,
    "uniformity": -1.2231,
    "bytes_up": 12,
    "seconds": 1.5,
    "train_seconds": 1.25,
}


def test_further_figures_are_those_that_were_asked_for() -> None:
    assert list(extra_metrics(ROW)) == ["lidar", "worst_class_accuracy", "class_gap", "uniformity"]


def test_shares_are_told_in_per_cent_and_all_else_as_it_is() -> None:
    told = {
        metric_label(key): format_metric(key, value) for key, value in extra_metrics(ROW).items()
    }
    assert told == {
        "lidar": "72.46",
        "worst class accuracy": "21.5 %",
        "class gap": "41.0 %",
        "uniformity": "-1.223",
    }
    line = describe(ROW)
    assert line.startswith("2 clients  loss 2.5000  linear 50.0%  RankMe 9.0  lidar 72.46")
    assert line.endswith("uniformity -1.223")


SHARES = {
    "linear_accuracy",
    "linear_accuracy_recalibrated",
    "knn_accuracy",
    "augmented_accuracy",
    "paper_accuracy",
    "finetuned_1_accuracy",
    "finetuned_10_accuracy",
    "head_1_accuracy",
    "head_10_accuracy",
    "retrieval_map",
    "recall_at_1",
    "recall_at_5",
    "recall_at_10",
    "risk",
    "risk_usability",
    "risk_probe_generalisation",
    "risk_encoder_generalisation",
    "worst_class_accuracy",
    "worst_domain_accuracy",
    "worst_client_accuracy",
    "class_gap",
    "domain_gap",
    "client_gap",
    "rankme_picks_accuracy",
    "rankme_regret",
    "lidar_picks_accuracy",
    "lidar_regret",
    "pca_variance",
}
NUMBERS = {
    "rankme",
    "lidar",
    "alignment",
    "uniformity",
    "cka_with_global",
    "cka_between_clients",
    "cka_least",
    "sslmem",
    "sslmem_control",
    "rankme_kendall",
    "lidar_kendall",
}


def test_what_our_measures_report_is_told_in_its_unit() -> None:
    reported = {name for measure in MEASURES.values() for name in measure.reports}
    assert reported | {"linear_accuracy_recalibrated"} == SHARES | NUMBERS
    assert {name for name in SHARES | NUMBERS if format_metric(name, 0.5) == "50.0 %"} == SHARES
    assert {name for name in SHARES | NUMBERS if format_metric(name, 0.5) == "0.5"} == NUMBERS
    # A name alone says nothing: of this one nothing is declared.
    assert format_metric("nobodys_accuracy", 0.5) == "0.5"
    assert description_of("nobodys_accuracy") == MetricDescription()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("train_loss", 2.34567, "2.346"),
        ("train_loss", math.inf, "inf"),
        ("bytes_up", 1234567, "1.23 MB"),
        ("evaluate_seconds", 3.21, "3.2 s"),
        ("seconds", 125.2, "2 min 5 s"),
        ("client_seconds", 7260.0, "2 h 1 min"),
    ],
)
def test_what_every_round_reports_is_told_in_its_unit(key: str, value: float, told: str) -> None:
    assert format_metric(key, value) == told


def test_every_number_of_a_row_is_described() -> None:
    counts = {"round", "cohort", "failed", "failed_reasons", "clipped"}
    for key in _Row.model_fields.keys() - counts:
        description = description_of(key)
        assert description.better != "neither"
        assert (description.unit == "seconds") == key.endswith("seconds")
    assert all(description_of(key).untrained for key in ALWAYS[1:])


def test_which_way_is_better_decides_a_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (LINEAR.sign, LINEAR.suffix, LINEAR.of({"linear_accuracy": 0.5})) == (1, " %", 50)
    assert (RANKME.sign, RANKME.suffix, RANKME.of({"rankme": 9.5})) == (1, "", 9.5)
    monkeypatch.setitem(METRICS, "rankme", MetricDescription(better="lower"))
    assert RANKME.sign == -1
