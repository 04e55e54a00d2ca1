import json

import pytest

from simulations.bench.measurement import Measurement, Target


@pytest.mark.parametrize(
    ("target", "value", "ratio", "met"),
    [
        (Target(10, at_least=False, unit="ms"), 10.0, None, True),
        (Target(10, at_least=False, unit="ms"), 10.1, 0.1, False),
        (Target(0.9, at_least=True, of_ratio=True), 5.0, 0.9, True),
        (Target(0.9, at_least=True, of_ratio=True), 5.0, 0.89, False),
        (Target(0.9, at_least=True, of_ratio=True), 5.0, None, None),
        (Target(10, at_least=True), None, 1.0, None),
    ],
)
def test_a_target_bounds_the_value_or_the_ratio(
    target: Target, value: float | None, ratio: float | None, met: bool | None
) -> None:
    assert Measurement("f", "ms", value, ratio=ratio, target=target).met is met


def test_a_target_reads_as_people_write_it() -> None:
    assert str(Target(20_000, at_least=True, unit="views per s")) == "≥ 20,000 views per s"
    assert str(Target(1.05, at_least=False, of_ratio=True)) == "≤ 1.05 ×"


def test_json_holds_the_public_fields_and_null_where_nothing_was_measured() -> None:
    target = Target(0.25, at_least=True)
    made = json.loads(json.dumps(Measurement("share", "", target=target, note="no GPU").to_json()))
    assert {"name", "value", "unit", "reference", "ratio", "target", "met"} <= made.keys()
    assert made["met"] is None
    assert made["value"] is None
    assert made["target"] == "≥ 0.25"
    assert Measurement("f", "s", 1.0).to_json()["target"] is None
