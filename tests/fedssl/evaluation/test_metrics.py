"""What measures declare of their figures."""

from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
from pydantic import ValidationError

from fedssl.evaluation import (
    MEASURES,
    Measure,
    MeasureConfig,
    MeasureResult,
    MetricDescription,
    Subject,
    measure,
)
from fedssl.evaluation import finetune as finetuning
from fedssl.evaluation import lidar as lidar_module
from fedssl.evaluation.metrics import METRICS
from tests.tools.evaluation import Noisy, a_subject, color_splits

ROWS = [{"round": n, "linear_accuracy": 0.3 * n, "rankme": 2.0 + n, "lidar": n} for n in range(3)]


@pytest.mark.parametrize("name", [n for n in MEASURES if n not in ("map-tsne", "map-umap")])
def test_every_figure_of_ours_is_declared(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lidar_module, "VIEWS", 2)
    monkeypatch.setattr(finetuning, "EPOCHS", {1: 1, 10: 1})
    splits = color_splits()
    splits = replace(splits, test=replace(splits.test, fields={"domain": np.arange(45) % 2}))
    whole = a_subject(
        Noisy(), splits, owner=np.arange(90) % 3, after_update=lambda _: Noisy(), rounds=ROWS
    )
    if name == "sslmem":
        part = splits.train.take(np.arange(45))
        whole = replace(whole, others={"other": replace(whole, train=part)})
    found = measure(cast(MeasureConfig, MEASURES.read(name)), whole).figures
    assert found
    # No undeclared part is told as a plain number unawares.
    assert found.keys() <= MEASURES[name].reports.keys()
    assert MEASURES[name].reports.items() <= METRICS.items()


class Sharpness(Measure):
    """One of a person's own, which declares a figure and leaves out another."""

    labels = False
    reports: ClassVar = {
        "sharpness": MetricDescription(unit="share", better="higher"),
        "rankme": MetricDescription(unit="bytes"),
    }

    def measure(self, subject: Subject) -> MeasureResult:
        return MeasureResult({"sharpness": 0.5, "blur": 0.25})


class Sharper(Sharpness):
    """A subclass has what its base declares."""


def test_a_measure_of_ones_own_declares_its_figures_and_changes_no_other() -> None:
    assert METRICS["sharpness"] == MetricDescription(unit="share", better="higher")
    assert Sharper.reports is Sharpness.reports
    assert "blur" not in METRICS
    assert METRICS["rankme"].unit == "number"


def test_what_is_no_description_is_refused_where_it_is_written() -> None:
    described: Any = {"speed": "seconds"}
    with pytest.raises(ValueError, match=r"Fast: reports\['speed'\] = 'seconds': must be a"):
        type("Fast", (Sharpness,), {"reports": described})
    with pytest.raises(ValidationError, match="unit"):
        MetricDescription.model_validate({"unit": "per cent"})
