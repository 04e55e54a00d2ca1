"""What clients are told to do, as it stands in a message's config; and texts that are hostile."""

import json
import sys
from pathlib import Path
from typing import Literal

import pytest

from fedssl.client_rules import ClientRule, ClientRuleConfig
from fedssl.client_rules.proximal import Proximal
from fedssl.training.instructions import MAX_RULES, Instructions


def read(rules: object) -> tuple[ClientRuleConfig, ...]:
    return Instructions.from_config({"rules": rules}).rules


def test_who_has_nothing_to_do_is_told_nothing() -> None:
    assert Instructions().to_config() == {}
    assert Instructions.from_config({}) == Instructions()


def test_flowers_fedprox_is_understood() -> None:
    assert Instructions.from_config({"proximal-mu": 1}).rules == (Proximal.Config(mu=1.0),)
    assert Instructions.from_config({"proximal-mu": 0.0}) == Instructions()


def test_what_no_client_does_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="asks its clients for dropout, which they do not do"):
        Instructions.from_config({"dropout": 0.5, "proximal-mu": 1.0})


@pytest.mark.parametrize(
    "config",
    [
        {"proximal-mu": -1.0},
        {"proximal-mu": float("nan")},
        {"proximal-mu": "1"},
        {"proximal-mu": ""},
        {"local": "encoder"},
        {"scheduled": ["a"], "merged": []},
    ],
)
def test_values_that_make_no_sense_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(config))):
        Instructions.from_config(config)


def one(name: str, **numbers: object) -> str:
    return json.dumps([{"name": name, **numbers}])


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        # What is no text of rules.
        (7, "must be text"),
        (["proximal"], "must be text"),
        ("", "is not valid JSON"),
        ("proximal", "is not valid JSON"),
        ("[", "is not valid JSON"),
        ("[" * 30_000, "is not valid JSON"),
        ("[" + "1" * 10_000 + "]", "is not valid JSON"),
        (" " * 70_000 + "[]", "at most 65,536 characters"),
        ("{}", "must be a list"),
        ('"proximal"', "must be a list"),
        ("null", "must be a list"),
        ("[null]", "0 = .*: Input should be a section"),
        ("[[]]", "0 = .*: Input should be a section"),
        ("[" + "[" * 500 + "]" * 500 + "]", "0 = .*: Input should be a section"),
        ("[{}]", "0 = .*: There is no such choice"),
        ('[{"name": 1}]', "0 = .*: There is no such choice"),
        ('[{"name": null}]', "0 = .*: There is no such choice"),
        (one("dropout"), "0 = .*: There is no such choice"),
        (one("proximal" * 1000), "0 = .*: There is no such choice"),
        # Too many, or twice.
        (json.dumps([{"name": f"mine.R{n}"} for n in range(MAX_RULES + 1)]), "at most 16 rules"),
        (json.dumps(["moon", "proximal", {"name": "moon", "mu": 2}]), "a rule twice"),
        # Numbers.
        (one("proximal", mu=-1.0), r"0\.mu = .*: .*greater than or equal to 0"),
        (one("proximal", mu=float("nan")), r"0\.mu = nan: "),
        (one("proximal", mu=float("inf")), r"0\.mu = .*: .*finite"),
        ('[{"name": "proximal", "mu": 1e999}]', r"0\.mu = .*: .*finite"),
        ('[{"name": "proximal", "mu": 1' + "0" * 400 + "}]", r"0\.mu = .*: "),
        (one("proximal", mu="1"), r"0\.mu = .*: "),
        (one("proximal", mu=True), r"0\.mu = .*: "),
        (one("proximal", mu=[1.0]), r"0\.mu = .*: "),
        (one("proximal", nu=1.0), r"0\.nu = .*: "),
        (one("moon", temperature=0.0), r"0\.temperature = .*: "),
        (one("fedema", tau=0.0), r"0\.tau = .*: "),
        (one("fedu", threshold=-0.1), r"0\.threshold = .*: "),
        (one("sensitivity", decay=1.0), r"0\.decay = .*: "),
        (one("feddyn", alpha=0.0), r"0\.alpha = .*: "),
        (one("fedx", temperature=-1.0), r"0\.temperature = .*: "),
        (one("fedx", target_temperature=0.0), r"0\.target_temperature = .*: "),
        (one("scaffold", c=1.0), r"0\.c = .*: "),
    ],
)
def test_hostile_texts_are_refused_with_a_short_reason(rules: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        read(rules)
    assert str(refusal.value).startswith("rules")
    assert len(str(refusal.value)) < 300


def test_a_deeply_nested_text_is_read_or_refused_and_no_other_error() -> None:
    refused = 0
    for depth in range(800, 1001, 4):
        try:
            read('[{"name": "mine.Rule", "x": ' + "[" * depth + "]" * depth + "}]")
        except ValueError as error:
            assert str(error) in ("rules is not valid JSON", "rules is nested too deeply")  # noqa: PT017
            refused += 1
    assert refused


def test_a_proximal_rule_beside_flowers_own_is_refused() -> None:
    with pytest.raises(ValueError, match="rules has a rule twice"):
        Instructions.from_config({"proximal-mu": 1.0, "rules": one("proximal", mu=0.5)})


def test_as_many_rules_as_there_may_be_are_read() -> None:
    listed = [{"name": f"mine.R{n}", "number": n} for n in range(MAX_RULES)]
    assert [rule.name for rule in read(json.dumps(listed))] == [f"mine.R{n}" for n in range(16)]


def test_a_rule_of_ones_own_is_imported_when_it_is_made_and_no_sooner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rule_of_mine.py").write_text(
        "from fedssl.client_rules import ClientRule, ClientRuleConfig\n"
        "class Mine(ClientRule):\n"
        "    class Config(ClientRuleConfig):\n"
        "        weight: int = 1\n"
        "class Other: ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = one("rule_of_mine.Mine", weight=3)
    instructions = Instructions.from_config({"rules": text})
    assert Instructions.from_config(instructions.to_config()) == instructions
    assert "rule_of_mine" not in sys.modules
    (rule,) = instructions.build_rules()
    assert rule.config.model_dump() == {"name": "rule_of_mine.Mine", "weight": 3}
    for name, message, fields in (
        ("rule_of_mine.Mine", r"rules\.weight = x: must be", {"weight": "x"}),
        ("rule_of_mine.Mine", r"rules\.size: unknown field", {"size": 1}),
        ("rule_of_mine.Other", "must be a subclass of fedssl.client_rules.base.ClientRule", {}),
        ("rule_of_mine.Nobody", "has no 'Nobody'", {}),
        ("no_such_module.Rule", "no module 'no_such_module'", {}),
        ("..", "is not a dotted path", {}),
        ("rule_of_mine.Mine ", "is not a dotted path", {}),
    ):
        wrong = Instructions.from_config({"rules": one(name, **fields)})
        with pytest.raises(ValueError, match=message):
            wrong.build_rules()
    sys.modules.pop("rule_of_mine")


class Short(ClientRule):
    """A rule whose name nothing leads to."""

    class Config(ClientRuleConfig):
        name: Literal["short"] = "short"

    config: Config


def test_a_rule_of_ones_own_without_a_path_for_a_name_is_told_its_path() -> None:
    told = rf"there is no client rule of this name; .* its dotted path, {__name__}\.Short, for"
    with pytest.raises(ValueError, match=told):
        Instructions(rules=(Short.Config(),)).build_rules()


def test_what_is_no_config_of_a_rule_is_told() -> None:
    with pytest.raises(ValueError, match="returns a Short: it must return the Config of each rule"):
        Instructions(rules=(Short(Short.Config()),)).build_rules()  # type: ignore[arg-type]
