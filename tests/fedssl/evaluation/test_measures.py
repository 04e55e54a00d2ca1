"""What holds for every measure by name."""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch

from fedssl.base.config_file import ConfigError, validate
from fedssl.data import Limit
from fedssl.evaluation import (
    MEASURES,
    EvaluationConfig,
    Measure,
    MeasureConfig,
    MeasureResult,
    Subject,
    evaluate,
    gather,
    measure,
)
from fedssl.evaluation import finetune as finetuning
from fedssl.evaluation import lidar as lidar_module
from fedssl.evaluation.rankme import RankMe
from tests.tools.evaluation import Noisy, a_subject, color_splits


def named(name: str) -> MeasureConfig:
    return cast(MeasureConfig, MEASURES.read(name))


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
        found.append(measure(named(name), subject))
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
            measure(named(name), subject)
    elif name in ("rankme", "lidar", "alignment", "map"):
        assert measure(named(name), subject).figures


def test_the_usual_three_are_those_of_a_round() -> None:
    subject = a_subject(Noisy(), config=EvaluationConfig(limit=Limit(train=40, test=20)))
    found: dict[str, float] = {}
    for name in ("rankme", "linear", "knn"):
        found |= measure(named(name), subject).figures
    assert found == evaluate(subject).figures


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
        measure(named("rankme"), a_subject(encoder))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("lidr", r"^ *measures\.0 = lidr: there is no such choice; did you mean lidar\?"),
        ({"name": "lidr"}, r"^ *measures\.0\.name = lidr: there is no such choice; did you mean"),
        ("sslmem", r"^ *measures\.0 = sslmem: is of whole runs"),
        ({"name": "lidar", "views": 3}, r"^ *measures\.0\.views: unknown field"),
        (3, r"^ *measures\.0 = 3: must be a section of fields"),
    ],
)
def test_a_round_is_measured_by_what_there_is(given: object, why: str) -> None:
    with pytest.raises(ConfigError) as told:
        read({"measures": [given]})
    assert re.search(why, str(told.value), re.MULTILINE)


def read(section: object) -> EvaluationConfig:
    return validate(EvaluationConfig, section, base=Path(), source="a test")


class Bright(Measure):
    """A measure of a person's own."""

    class Config(MeasureConfig):
        name: str = "bright"
        scale: float = 1.0

    config: Config
    labels = False

    def measure(self, subject: Subject) -> MeasureResult:
        return MeasureResult({"brightness": self.config.scale * len(subject.test_features)})


class Shrunk(RankMe):
    """A fedssl measure, changed: it needs no fields of its own."""

    def measure(self, subject: Subject) -> MeasureResult:
        return MeasureResult({"shrunk": super().measure(subject).figures["rankme"] / 2})


class Counted(Bright):
    given: ClassVar[Any] = MeasureResult({"count": 3})

    def measure(self, subject: Subject) -> Any:
        return self.given


def test_one_of_ones_own_is_named_by_its_dotted_path() -> None:
    subject = a_subject(Noisy())
    config = read(
        {"measures": [{"name": f"{__name__}.Bright", "scale": 0.5}, f"{__name__}.Shrunk"]}
    )
    scaled, shrunk = (measure(section, subject).figures for section in config.measures)
    assert scaled == {"brightness": len(subject.test_features) / 2}
    assert shrunk == {"shrunk": measure(named("rankme"), subject).figures["rankme"] / 2}


def test_one_of_ones_own_is_not_imported_when_the_config_is_read() -> None:
    assert read({"measures": ["no_such_module.Mine"]}).measures[0].name == "no_such_module.Mine"


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"name": "no_such_module.Mine"}, "no module 'no_such_module'"),
        ({"name": "json.JSONDecoder"}, r"must be a subclass of fedssl\.evaluation\.base\.Measure"),
        ({"name": f"{__name__}.Bright", "scale": "a"}, r"evaluation\.measures\.scale = a: must be"),
        ({"name": f"{__name__}.Bright", "size": 1}, r"evaluation\.measures\.size: unknown field"),
    ],
)
def test_what_is_no_measure_is_refused(section: dict[str, object], why: str) -> None:
    (chosen,) = read({"measures": [section]}).measures
    with pytest.raises(ValueError, match=f"^{re.escape(chosen.name)}: .*{why}"):
        measure(chosen, a_subject(Noisy()))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"count": 3.0}, "gave a dict: it must be a MeasureResult"),
        (MeasureResult({"count": 3}), r"gave the figure 'count' = 3: it must be a float"),
        (MeasureResult({"a count": 3.0}), r"gave the figure 'a count' = 3\.0"),
    ],
)
def test_what_no_row_can_hold_is_refused(
    given: object, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counted, "given", given)
    with pytest.raises(ValueError, match=why):
        measure(read({"measures": [f"{__name__}.Counted"]}).measures[0], a_subject(Noisy()))


def test_measures_are_written_as_they_are_shortest() -> None:
    own = {"name": "my.Measure", "scale": 0.5}
    config = read({"measures": ["harm", {"name": "lidar"}, own, "my.Other"]})
    written = config.model_dump(mode="json")
    assert written["measures"] == ["harm", "lidar", own, "my.Other"]
    assert read(written) == config
