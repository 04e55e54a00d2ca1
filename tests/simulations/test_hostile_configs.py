"""Configs that nobody meant, in thousands over all tests: each is read, or refused in words."""

import contextlib
import copy
import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedssl.base.config_file import ConfigError, dump, parse_yaml, validate
from simulations.settings.experiment import Experiment, load_experiment

CONFIGS = Path(__file__).parents[2] / "configs"
BASES: list[dict[str, Any]] = [
    yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(CONFIGS.rglob("*.yaml"))
]

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**400, max_value=10**401),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            "simclr", "a.b", ".", "a..b", "timm/x", "torchvision/", "~nobody/x", "\x00", "../x",
            "010", "1e1", "\u202e", "x" * 5000, "🐈", "null", "local", "-1",
        ]
    ),
    st.binary(max_size=8),
    st.dates(),
    st.just(datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)),
)  # fmt: skip
KEYS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["name", "clients", "train", "lr", "terms", "scale", "views", "<<", "a.b"]),
    st.integers(),
    st.booleans(),
    st.none(),
    st.dates(),
)
VALUES = st.recursive(
    ODD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in it."""
    inner: list[tuple[Any, ...]] = []
    if isinstance(values, dict):
        inner = [place for key, value in values.items() for place in places(value, (*path, key))]
    elif isinstance(values, list):
        inner = [p for index, value in enumerate(values) for p in places(value, (*path, index))]
    return [path, *inner]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Return a config of ours with up to three values, or fields, put in the place of others."""
    values: Any = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(values)))
        new = draw(VALUES)
        if not path:
            if draw(st.booleans()) and isinstance(values, dict):
                values[draw(KEYS)] = new
                continue
            return new
        around = values
        for part in path[:-1]:
            around = around[part]
        if isinstance(around, dict) and draw(st.booleans()):
            around[draw(KEYS)] = new
        else:
            around[path[-1]] = new
    return values


def refused_or_read(load: Any) -> None:
    try:
        experiment = load()
    except ConfigError as error:
        message = str(error)
        lines = message.splitlines()
        assert len(lines) <= 60
        assert all(len(line) <= 1000 for line in lines)
        assert "\x1b" not in message
        return
    assert parse_yaml(dump(experiment), "dumped")


quick = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(quick, max_examples=100)
@given(mutated())
def test_values_of_any_kind_are_read_or_refused_in_words(values: Any) -> None:
    refused_or_read(lambda: validate(Experiment, values, base=Path("/"), source="mutated"))


@settings(quick, max_examples=60)
@given(mutated(), st.booleans())
def test_files_of_any_content_are_read_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, values: Any, flow: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_text(yaml.dump(values, default_flow_style=flow, allow_unicode=flow), "utf-8")
    refused_or_read(lambda: load_experiment(path))


PIECES = st.sampled_from(
    [
        "a", "name", "seed", ": ", ":", "\n", "\n  ", "- ", "[", "]", "{", "}", ", ", "&a ", "*a",
        "<<: ", "!!int ", "!!binary ", "!!set ", "!!python/name:os.system ", "!", "!!map ", "'",
        '"', "\\", "|", ">", "#", "? ", "%YAML 1.1\n", "---\n", "...", "1e1", "010", "0x", "1_0",
        ".inf", "~", "yes", "2001-01-01", "9" * 2000, "\t", "\ufeff", "\x00", "\ud800", "é", "=",
        "@", "`", "null", "1:30",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60)


@settings(quick, max_examples=200)
@given(TEXTS)
def test_texts_of_any_kind_are_parsed_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_yaml(text, "text")


@settings(quick, max_examples=60)
@given(
    st.lists(
        st.builds(
            "{}={}".format,
            st.sampled_from(
                [
                    "seed",
                    "data.name",
                    "views",
                    "a.b.c",
                    "x",
                    "model.encoder",
                    "partition.name",
                    "strategy.name",
                    "engine.device",
                ]
            )
            | st.text(max_size=8),
            TEXTS,
        )
        | TEXTS,
        max_size=3,
    )
)
def test_overrides_of_any_kind_are_read_or_refused_in_words(overrides: list[str]) -> None:
    refused_or_read(lambda: load_experiment(CONFIGS / "smoke.yaml", overrides))


@pytest.mark.slow
@settings(quick, max_examples=1000)
@given(mutated())
def test_a_thousand_mutated_configs(values: Any) -> None:
    refused_or_read(lambda: validate(Experiment, values, base=Path("/"), source="mutated"))


@pytest.mark.slow
@settings(quick, max_examples=500)
@given(TEXTS)
def test_hundreds_of_texts(text: str) -> None:
    refused_or_read(
        lambda: validate(Experiment, parse_yaml(text, "text"), base=Path("/"), source="t")
    )
