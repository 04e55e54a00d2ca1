"""The conformance kit: what keeps the contract passes, and each breach is found."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedssl.data import DataConfig, Dataset
from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities import NamedPolicy
from fedssl.networks.encoder import encoder_registry
from fedssl.testing import check_modality
from fedssl.views.recipe import Recipe
from fedssl.views.step import Step
from tests.tools import point_modality
from tests.tools.point_modality import Layers, PointModality, Rings, Shrink, Turn

SMALL = {"limit": {"train": 48, "test": 24}}


@pytest.mark.parametrize(
    ("modality", "data", "encoders"),
    [
        ("image", {"name": "glyphs", **SMALL}, ["convnet"]),
        ("series", {"name": "waves", **SMALL}, None),
        ("tests.tools.point_modality.POINTS", {"name": "rings"}, None),
    ],
)
def test_ours_and_one_of_a_single_file_keep_the_contract(
    modality: str, data: dict[str, object], encoders: list[str] | None
) -> None:
    check_modality(modality, data, encoders)


class _Broken(PointModality):
    """Points, but for what a test changes."""

    prepare: Any = Shrink()

    def preparation(self, config: DataConfig) -> Shrink:
        made: Shrink = self.prepare
        return made

    def views(self, steps: Sequence[Step], config: DataConfig) -> Recipe:
        made = super().views(steps, config)
        return Recipe(list(made.policy), self.prepare, self.prepare.spec_of)


class _WritingShrink(Shrink):
    def __call__(self, examples: Tensor) -> Tensor:
        return examples.div_(3)


class _BatchShrink(Shrink):
    def __call__(self, examples: Tensor) -> Tensor:
        return examples - examples.mean(0)


class _WideShrink(Shrink):
    def spec_of(self, spec: ExampleSpec) -> ExampleSpec:
        return replace(spec, shape=(3,))


class _BatchTurn(Turn):
    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        return super().apply(examples, uniform.flip(0))


class _Blowing(Turn):
    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        return examples / 0


class _Narrow(Layers):
    features = 16

    def forward(self, points: Tensor) -> Tensor:
        return super().forward(points)[:, :8]


class _Together(Layers):
    def forward(self, points: Tensor) -> Tensor:
        return super().forward(points - points.mean(0))


class _Idle(Layers):
    def __init__(self, config: Layers.Config, spec: ExampleSpec) -> None:
        super().__init__(config, spec)
        self.unused = nn.Linear(2, 2)


class _Dropping(Layers):
    def forward(self, points: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(points), 0.5, self.training)


class _Greedy(Turn):
    draws = 0


def _policies(step: Turn) -> dict[str, NamedPolicy]:
    return {"turned": NamedPolicy("The only one.", (step,))}


def _encoder(network: type[Layers]) -> dict[str, object]:
    return {"encoders": encoder_registry("point", network)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prepare": _WritingShrink()}, "the preparation writes to the stored examples"),
        ({"prepare": _BatchShrink()}, "an example is prepared otherwise in another batch"),
        ({"prepare": _WideShrink()}, r"its spec_of says float32 \[3\]"),
        ({"policies": _policies(_BatchTurn())}, "use each example's own row of uniform numbers"),
        ({"policies": _policies(_Blowing())}, "policy turned, view 1: gives infinite values"),
        ({"policies": {}}, "policies is empty"),
        ({"weak_policy": "weak"}, "weak_policy = weak: is none of its policies"),
        (_encoder(_Narrow), r"gives \[24, 8\] for 24 examples"),
        (
            _encoder(_Together),
            "in eval mode features depend on the rest of the batch",
        ),
        (_encoder(_Idle), "no gradient reaches unused"),
        (
            _encoder(_Dropping),
            "draws from torch's global generator in training",
        ),
        (
            {"policies": _policies(_Greedy())},
            r"fails with .*; each step is given as many .*turn: 0",
        ),
        ({"policies": {"turned": (Turn(),)}}, "policy turned: must be a NamedPolicy"),
        ({"steps": {}}, "steps is empty"),
    ],
)
def test_a_breach_is_found(
    changes: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = type("Changed", (_Broken,), changes)()
    monkeypatch.setattr(point_modality, "POINTS", broken)
    with pytest.raises(AssertionError, match=message):
        check_modality("tests.tools.point_modality.POINTS", {"name": "rings"})


def test_examples_of_another_type_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = type("Changed", (_Broken,), {"dtype": torch.uint8})()
    monkeypatch.setattr(point_modality, "POINTS", broken)
    with pytest.raises(
        ValueError, match=r"train points are torch\.float32: they must be torch\.uin"
    ):
        check_modality("tests.tools.point_modality.POINTS", {"name": "rings"})


def test_a_data_set_of_another_modality_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strange(Rings):
        """Points that are not said to be any."""

        modality: str = "image"

    broken = type("Changed", (_Broken,), {"data": {"rings": Strange}})()
    monkeypatch.setattr(point_modality, "POINTS", broken)
    with pytest.raises(AssertionError, match=r"Strange\.modality is 'image' by default"):
        check_modality("tests.tools.point_modality.POINTS", {"name": "rings"})


def test_the_modality_of_a_data_set_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no such modality; did you mean image"):
        check_modality("images", {"name": "glyphs"})
    with pytest.raises(ValueError, match=r"must be an instance of .*\.Modality"):
        check_modality("json.dumps", {"name": "glyphs"})


def test_json_is_what_specs_travel_as() -> None:
    spec = ExampleSpec.of("point", (2,), torch.float32)
    assert json.loads(json.dumps(spec.__dict__)) == {
        "modality": "point",
        "shape": [2],
        "dtype": "float32",
    }
    assert spec.blank(3).shape == (3, 2)


def test_a_data_set_may_be_given_by_hand() -> None:
    dataset = Dataset(torch.zeros(4, 2), torch.full((4,), -1), ())
    PointModality().check(dataset, "here")
    with pytest.raises(ValueError, match=r"here points are \[4\]"):
        PointModality().check(Dataset(torch.zeros(4), dataset.labels, ()), "here")
