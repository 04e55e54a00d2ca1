"""Every name that a config may hold, with a line on when to use it: a table, or a page.

fedssl list
fedssl list --markdown > docs/reference.md
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python
from rich.table import Table

from fedssl.base.fields import Fields
from fedssl.base.registry import Named, Registry
from fedssl.evaluation import MEASURES
from fedssl.modalities import MODALITIES
from fedssl.objectives import OBJECTIVES, TERMS
from fedssl.partitions import PARTITIONS
from simulations.settings.engines import ENGINES
from strategies import STRATEGIES

INTRODUCTION = """\
# Reference
Every name that a config may hold, when to use it, and its fields. All other fields, such as those \
of `client`, are described by `fedssl schema`. `fedssl list --markdown` prints this page, with \
what installed packages add. How to add one: [CONTRIBUTING.md](../CONTRIBUTING.md).
"""


@dataclass(frozen=True)
class Section:
    """The names that one field of a config may hold."""

    field: str
    """The field of a config, or the option of a command."""
    registry: Named[Any]
    """The registry of the names."""
    names: tuple[str, ...]
    """The names of the registry that the field may hold."""


def sections() -> list[Section]:
    """Return the names that each field may hold, in the order of a config."""
    modalities = MODALITIES.values()
    whole_runs = tuple(name for name in MEASURES if not _is_of_a_round(name))
    rounds = tuple(name for name in MEASURES if name not in whole_runs)
    return [
        _all_of("data.modality", MODALITIES),
        *(_all_of(f"data.name ({m.noun[1]})", m.data_sets) for m in modalities),
        _all_of("partition.name", PARTITIONS),
        *(_all_of(f"model.encoder ({m.noun[1]})", m.encoders) for m in modalities),
        _all_of("objective.name", OBJECTIVES),
        _all_of("objective.terms", TERMS),
        *(_all_of(f"views ({m.noun[1]})", m.view_policies) for m in modalities),
        *(_all_of(f"views, a step's name ({m.noun[1]})", m.view_steps) for m in modalities),
        Section("evaluation.measures", MEASURES, rounds),
        Section("fedssl probe --protocol", MEASURES, whole_runs),
        _all_of("strategy.name", STRATEGIES),
        _all_of("engine.name", ENGINES),
    ]


def _is_of_a_round(measure: str) -> bool:
    try:
        return MEASURES[measure].of_a_round
    except ValueError:  # A package that adds one that cannot be had; see `_when`.
        return True


def _when(registry: Named[Any], name: str) -> str:
    try:
        return registry.summary(name)
    except ValueError as error:
        return str(error)


def _all_of(field: str, registry: Named[Any]) -> Section:
    return Section(field, registry, tuple(registry))


def listing() -> Table:
    """Return a table of every name and when to use it."""
    table = Table("field", "name", "when to use it", box=None, pad_edge=False)
    for section in sections():
        for place, name in enumerate(section.names):
            table.add_row("" if place else section.field, name, _when(section.registry, name))
        table.add_row()
    return table


def markdown() -> str:
    """Return a page of every name, when to use it, and its fields."""
    return "\n".join([INTRODUCTION, *(_chapter(section) for section in sections())])


def _chapter(section: Section) -> str:
    registry = section.registry
    lines = [f"## {section.field}"]
    lines += _table(
        ("name", "when to use it"), ((f"`{name}`", _when(registry, name)) for name in section.names)
    )
    if isinstance(registry, Registry) and (fields := _fields(section, registry)):
        lines += ["", *_table(("of", "field", "type", "default", "meaning"), fields)]
    return "\n".join(lines) + "\n"


def _fields(section: Section, registry: Registry[Any]) -> list[tuple[str, ...]]:
    """Return a row for each field, which says whose it is: fields that are alike have one row."""
    whose: dict[tuple[str, ...], list[str]] = {}
    models = registry.models
    for name in section.names:
        for field in _fields_of(models.get(name)):
            whose.setdefault(field, []).append(f"`{name}`")
    everyone = len(section.names)
    return [
        ("all" if len(names) == everyone else ", ".join(names), *field)
        for field, names in sorted(whose.items(), key=lambda item: len(item[1]) < everyone)
    ]


def _fields_of(model: type[Fields] | None) -> list[tuple[str, ...]]:
    """Return each field except the name: its key, type, default and meaning."""
    if model is None:
        return []
    schema = model.model_json_schema()["properties"]
    rows: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        if name == "name":
            continue
        default = "required"
        if not field.is_required():
            value = to_jsonable_python(field.get_default(call_default_factory=True))
            default = f"`{json.dumps(value, ensure_ascii=False)}`"
        rows.append((f"`{name}`", type_in_words(schema[name]), default, field.description or ""))
    return rows


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield _row(head)
    yield "|---" * len(list(head)) + "|"
    yield from map(_row, rows)


def _row(cells: Iterable[str]) -> str:
    one_line = (" ".join(cell.split()).replace("|", r"\|") for cell in cells)
    return "| " + " | ".join(one_line) + " |"


BOUNDS = {
    **{"minimum": "≥", "ge": "≥", "exclusiveMinimum": ">", "gt": ">"},
    **{"maximum": "≤", "le": "≤", "exclusiveMaximum": "<", "lt": "<"},
}
"""The bounds of a number, by their names in JSON schema and in pydantic."""
TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "section",
}


def type_in_words(schema: Mapping[str, Any]) -> str:
    """Return a field's values as text, by its JSON schema: "number > 0, or null"."""
    if "anyOf" in schema:
        # Sections of different names are all called alike.
        return " or ".join(dict.fromkeys(type_in_words(each) for each in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{value}`" for value in values)
    if "prefixItems" in schema:
        parts = ", ".join(type_in_words(each) for each in schema["prefixItems"])
        return f"list [{parts}]"
    if schema.get("type") == "array":
        return f"list of {type_in_words(schema.get('items', {}))}"
    if isinstance(further := schema.get("additionalProperties"), Mapping):
        return f"section of {type_in_words(further)} by name"
    if schema.get("format") == "path":
        return "path"
    if "$ref" in schema or "oneOf" in schema:
        return TYPES["object"]
    word = TYPES.get(schema.get("type", ""), "any")
    bounds = [f"{sign} {schema[key]:,}" for key, sign in BOUNDS.items() if key in schema]
    if "multipleOf" in schema:
        bounds.append(f"a multiple of {schema['multipleOf']}")
    return " ".join([word, ", ".join(bounds)]).strip()
