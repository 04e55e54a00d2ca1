"""A policy is a list of steps that fit together."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from fedssl.modalities.image import IMAGE
from fedssl.modalities.image.views.changes import Blur, Flip, Solarize
from fedssl.modalities.image.views.crops import BoundedCrop, Crop
from fedssl.modalities.image.views.policies import POLICIES
from fedssl.modalities.sections import policy_of
from fedssl.views.step import Step

ADAPTER: TypeAdapter[tuple[Step, ...]] = TypeAdapter(policy_of(IMAGE))


@pytest.mark.parametrize("name", list(POLICIES))
def test_a_name_is_its_steps_and_they_can_be_written_and_read(name: str) -> None:
    steps = ADAPTER.validate_python(name)
    assert steps == POLICIES[name].steps
    assert ADAPTER.validate_python(json.loads(ADAPTER.dump_json(steps))) == steps


def test_every_step_goes_by_its_name_and_says_when_to_use_it() -> None:
    for name, kind in IMAGE.view_steps.items():
        assert kind.model_validate({"name": name}).name == name
        assert len((kind.__doc__ or "").partition("\n")[0]) > 10


def test_an_empty_list_is_a_policy() -> None:
    assert ADAPTER.validate_python([]) == ()


def test_views_of_byol_differ_as_published() -> None:
    steps = POLICIES["byol"].steps
    for view, blur, solarize in [(1, 1.0, 0.0), (2, 0.1, 0.2), (3, 0.1, 0.2)]:
        own = [step for step in steps if step.is_for(view)]
        assert [s.probability for s in own if isinstance(s, Blur)] == [blur]
        assert sum(s.probability for s in own if isinstance(s, Solarize)) == solarize


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ("simclrr", "no such policy; did you mean simclr?"),
        ([{"name": "flip"}, {"name": "crop"}], "crop comes after flip: put what needs the batch"),
        ([{"name": "crop"}, {"name": "batch-styles"}], "batch-styles comes after crop"),
        ([{"name": "crop"}, {"name": "bounded-crop"}], "crop and bounded-crop are for the same"),
        (
            [{"name": "crop", "first_view": 3}, {"name": "crop", "last_view": 3}],
            "are for the same view: give them first_view",
        ),
        ([{"name": "flip", "first_view": 3, "last_view": 2}], "must not be before first_view = 3"),
        ([{"name": "blur", "sigma": [2.0, 0.1]}], "sigma = .*: put the smaller number first"),
        ([{"name": "jitter", "hue": 0.6}], "hue"),
        ([{"name": "jitter", "probability": "0.5"}], "valid number"),
    ],
)
def test_steps_that_make_no_sense_are_refused(steps: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ADAPTER.validate_python(steps)


def test_views_may_have_crops_of_their_own() -> None:
    steps = (Crop(last_view=2), BoundedCrop(first_view=3, last_view=4), Crop(first_view=5), Flip())
    assert ADAPTER.validate_python(steps) == steps


def test_the_schema_offers_names_and_steps() -> None:
    schema = ADAPTER.json_schema()
    text = json.dumps(schema)
    assert "multi-crop" in text
    assert set(schema["$defs"]) >= {kind.__name__ for kind in IMAGE.view_steps.values()}
