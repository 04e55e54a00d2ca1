from pathlib import Path
from typing import Any

import pytest
import yaml

from fedssl.base import yaml_reader
from fedssl.base.yaml_reader import UnreadableError, parse, read_text


def keys(count: int) -> str:
    return "\n".join(f"k{n}: 1" for n in range(count))


def laughs(levels: int) -> str:
    """Nine times nine times … aliases: 9**levels values in a few hundred bytes."""
    lines = ["a0: &a0 [" + ", ".join("x" * 9) + "]"]
    for level in range(1, levels):
        items = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} [{items}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e1", 10),
        ("1E3", 1000),
        ("1e-1", 0.1),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("-1_000", -1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("010", "010"),
        ("-007", "-007"),
        ("0", 0),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("'5'", "5"),
        ("yes", True),
        ("~", None),
        ("=", "="),
        ("猫", "猫"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
        ("1e400", float("inf")),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("", None),
        ("0x", "0x"),
    ],
)
def test_values_are_what_people_mean(text: str, value: object) -> None:
    given = parse(text)
    assert given == value
    assert type(given) is type(value)


def test_what_is_left_of_yaml_is_read_as_pyyaml_reads_it() -> None:
    for file in sorted((Path(__file__).parents[3] / "configs").rglob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        assert parse(text) == yaml.safe_load(text)


def test_sections_are_merged_and_own_fields_win() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 5}\n"
    assert parse(text)["c"] == {"x": 5, "y": 2, "z": 4}


REFUSED = [
    (laughs(6), "more than 10,000 values"),
    (laughs(40), "more than 10,000 values"),
    (keys(6000), "line 5000: more than 10,000 values"),
    ("a: &a [*a]", r"line 1: \*a is an alias of what it is in"),
    ("a: &a {<<: *a}", r"line 1: \*a is an alias of what it is in"),
    ("[" * 100_000, "nested more than 32 levels deep"),
    ("- " * 100_000, "nested more than 32 levels deep"),
    ("? " * 1000, "nested more than 32 levels deep"),
    ("x" * 1_000_001, "is larger than 1 MB"),
    ("é" * 500_001, "is larger than 1 MB"),
    ("a: 1\nb: 2\n\na: 3\n", "line 4: the key a is given twice; the first is in line 1"),
    ("{a: 1, 'a': 2}", "line 1: the key a is given twice"),
    ("x:\n  1: 2\n", "line 2: 1 is no field's name, which is text"),
    ("null: 2\n", "line 1: null is no field's name"),
    ("? [a]\n: 2\n", "line 1: this is no field's name"),
    ("a: {<<: 5}", "line 1: << takes the alias of a section"),
    ("a: !!binary aGk=", "line 1: the tag !!binary means nothing in a config"),
    ("a: !!timestamp 2001-01-01", "the tag !!timestamp means nothing"),
    ("a: !!python/name:os.system x", "the tag !!python/name:os.system means nothing"),
    ("a: !thing x", "the tag !thing means nothing"),
    ("a: !!set {x}", "the tag !!set means nothing"),
    ("a: !!bool x", "the tag !!bool means nothing"),
    ("a: !!map [x]", "the tag !!map means nothing"),
    ("a: !!int ''", "line 1:  is no number"),
    ("a: " + "9" * 5000, "a number of 5,000 characters"),
    ("a: 9223372036854775808", "9223372036854775808 does not fit into 64 bits"),
    ("a: b: c", "not valid YAML: line 1: mapping values are not allowed"),
    ("a: [", "not valid YAML: line 1: "),
    ("a: *b", "not valid YAML: line 1: found undefined alias 'b'"),
    ("a: 1\n---\nb: 2\n", "not valid YAML: line 2: but found another document"),
    ("a: \x00", "not valid YAML: unacceptable character #x0000"),
    ("a: \ud800", "not valid YAML: unacceptable character"),
]


@pytest.mark.parametrize(("text", "words"), [pytest.param(*case, id=case[1]) for case in REFUSED])
def test_what_is_no_config_is_refused_by_a_sentence(text: str, words: str) -> None:
    with pytest.raises(UnreadableError, match=words) as caught:
        parse(text)
    assert len(str(caught.value)) < 300


def test_no_more_nodes_are_made_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    compose = yaml.SafeLoader.compose_scalar_node

    def counted(loader: Any, anchor: Any) -> yaml.ScalarNode:
        nonlocal made
        made += 1
        return compose(loader, anchor)

    monkeypatch.setattr(yaml.SafeLoader, "compose_scalar_node", counted)
    with pytest.raises(UnreadableError):
        parse(laughs(50) + "\n" + keys(50_000))
    assert made <= yaml_reader.VALUES


def test_only_so_much_of_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UnreadableError, match="larger than 1 MB"):
        read_text(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UnreadableError, match="is not a text file in UTF-8"):
        read_text(path)
