"""From a YAML file and ``key=value`` overrides to a validated config, with errors people can use.

Relative paths in a file are relative to that file; those in an override to the current folder.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from fedssl.errors import ConfigError as ConfigError
from fedssl.fields import Choice, Fields, FromShell, nearest
from fedssl.plain_files import MEGABYTE, read_text

Config = TypeVar("Config", bound=Fields)

_MOST_VALUES = 2_000_000
"""A plan of 100,000 runs has fewer."""
_MOST_DEEP = 64
_SHOWN = 200
"""The most characters of a value that a message quotes."""


class _Loader(yaml.SafeLoader):
    """A safe loader that reads 1e-3 as a number, and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(str(key.value) for key, _ in node.value)
        for key, count in keys.items():
            if count > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: a text that it would take for a number is quoted."""


for _either in (_Loader, _Dumper):
    _either.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+0123456789."),
    )


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML; ``source`` names it in errors."""
    try:
        values = yaml.load(text, _Loader)
    # Besides its own errors, PyYAML lets pass any of a tag whose value it cannot build.
    except Exception as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ConfigError(f"{source}{where}: not valid YAML: {what}") from None
    _check_size(values, source)
    return values


def read_yaml(path: Path, most: int = MEGABYTE) -> Any:
    """Parse a YAML file of at most so many bytes.

    Raises
    ------
    ConfigError
        It cannot be read, or is no YAML.
    """
    return parse_yaml(read_text(path, most), str(path))


def _check_size(values: Any, source: str) -> None:
    """Refuse what a few lines of aliases blow up, or have hold itself: no code could walk it."""
    level, count, depth = [values], 1, 0
    while level and count <= _MOST_VALUES and depth <= _MOST_DEEP:
        parts = [_parts(value) for value in level]
        # Counted before they are put together, which could take all memory.
        count += sum(map(len, parts))
        depth += 1
        if count <= _MOST_VALUES:
            level = [value for part in parts for value in part]
    if level:
        raise ConfigError(
            f"{source}: holds more than {_MOST_VALUES:,} values (those that aliases repeat count "
            f"each time), or is nested more than {_MOST_DEEP} deep"
        )


def _parts(value: Any) -> Collection[Any]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, (list, tuple, set)) else ()


def read(model: type[Config], path: Path, overrides: Iterable[str] = ()) -> Config:
    """Read, override and validate a config file.

    Parameters
    ----------
    model : type[Fields]
        The config's model.
    path : Path
        A YAML file.
    overrides : Iterable[str]
        Such as ``rounds=5`` or ``strategy.name=fedavg``; the value is read as YAML. Where a
        section's ``name`` is changed, the fields that only the old choice has are dropped.

    Raises
    ------
    ConfigError
        All that is wrong with the file, a line each.
    """
    values = read_yaml(path)
    _check_fields(values, str(path))
    for override in overrides:
        _override(model, values, override)
    return validate(model, values, base=path.parent, source=str(path))


def validate(model: type[Config], values: Any, *, base: Path, source: str) -> Config:
    """Validate plain values, such as a parsed YAML file, against a model.

    Raises
    ------
    ConfigError
        All that is wrong, a line each.
    """
    _check_fields(values, source)
    try:
        return model.model_validate(values, context={"base": base.absolute()})
    except ValidationError as error:
        lines = [_explain(model, values, problem) for problem in error.errors()]
        head = f"{source}: " + ("a problem" if len(lines) == 1 else f"{len(lines)} problems")
        raise ConfigError("\n".join([head, *(f"  {line}" for line in lines)])) from None


def _check_fields(values: Any, source: str) -> None:
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: must hold `field: value` lines; `fedssl init` writes a start")
    if not all(isinstance(name, str) for name in values):
        raise ConfigError(f"{source}: the name of every field must be a text")


def dump(config: BaseModel) -> str:
    """Return a config as YAML, every default written out."""
    values = config.model_dump(mode="json")
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, default_flow_style=None)


def _override(model: type[Fields], values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"{override}: an override is written key=value, such as client.lr=0.05")
    value = _from_shell(parse_yaml(text, override))
    section = values
    for depth, part in enumerate(parts[:-1]):
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            place = ".".join(parts[: depth + 1])
            raise ConfigError(f"{override}: {place} is a value, not a section of fields")
    if parts[-1] == "name" and len(parts) == 2 and section.get("name") != value:
        _forget_old_choice(model, parts[0], section, value)
    section[parts[-1]] = value


def _forget_old_choice(
    model: type[Fields], name: str, section: dict[str, Any], value: object
) -> None:
    """Drop the fields that the section's old choice has and its new one does not."""
    choice = _choice(model.model_fields.get(name))
    if choice is None:
        return
    old, new = choice.pick(section.get("name")), choice.pick(value)
    if old and new:
        for field in [f for f in section if f not in new.model_fields and _knows(old, f)]:
            del section[field]


def _knows(model: type[BaseModel], field: str) -> bool:
    return field in model.model_fields or model.model_config.get("extra") == "allow"


def _from_shell(value: Any) -> Any:
    if isinstance(value, str):
        return FromShell(value)
    if isinstance(value, list):
        return [_from_shell(item) for item in value]
    if isinstance(value, dict):
        return {key: _from_shell(item) for key, item in value.items()}
    return value


def _choice(field: FieldInfo | None) -> Choice | None:
    return next((m for m in field.metadata if isinstance(m, Choice)), None) if field else None


def _choice_of_items(field: FieldInfo | None) -> Choice | None:
    """Return the choice that each item of a list makes: ``tuple[Annotated[X, choice], ...]``."""
    item = next(iter(get_args(field.annotation)), None) if field else None
    return next((m for m in getattr(item, "__metadata__", ()) if isinstance(m, Choice)), None)


def _models_along(model: type[BaseModel], values: Any, place: tuple[Any, ...]) -> Any:
    """Follow an error's place: yield its parts without pydantic's union tags.

    With each come the model that it is a field of, the values around it, and its choice.
    """
    current: type[BaseModel] | None = model
    items: Choice | None = None
    parts = list(place)
    while parts:
        part = parts.pop(0)
        field = current.model_fields.get(part) if current and isinstance(part, str) else None
        choice = _choice(field) or items
        yield part, current, values, choice
        items = _choice_of_items(field)
        values = _get(values, part)
        if choice is not None:
            current = choice.pick(_get(values, "name"))
            if parts:
                parts.pop(0)
        else:
            annotation: Any = field.annotation if field else None
            is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
            current = annotation if is_model else None


def _get(values: Any, part: Any) -> Any:
    if isinstance(values, Mapping):
        return values.get(part)
    if isinstance(values, (list, tuple)) and isinstance(part, int) and part < len(values):
        return values[part]
    return None


def _explain(model: type[BaseModel], values: Any, problem: Mapping[str, Any]) -> str:
    steps = list(_models_along(model, values, tuple(problem["loc"])))
    field = ".".join(str(part) for part, *_ in steps)
    last, owner, around, choice = steps[-1] if steps else (None, model, values, None)
    value = _get(around, last) if steps else values
    context = problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden":
            valid = [name for name in owner.model_fields if name != last] if owner else []
            return f"{field}: unknown field; {nearest(str(last), valid)}"
        case "missing":
            return f"{field}: is missing"
        case "union_tag_invalid" | "union_tag_not_found":
            names = choice.names if choice else []
            given = _get(value, "name")
            if given is None:
                return f"{field}: needs a `name`; choose one of {', '.join(names)}"
            return f"{field}.name = {given}: there is no such choice; {nearest(str(given), names)}"
        case "value_error":
            message = str(context["error"])
            # A check over several fields names them itself.
            if not steps or isinstance(value, (dict, list)):
                named = isinstance(value, dict) and re.split(r"\W", message)[0] in value
                return f"{field}{'.' if named else ': '}{message}" if field else message
        case "union_tag" | "literal_error":
            message = f"there is no such choice; {_expected(context, value)}"
        case _:
            message = problem["msg"][0].lower() + problem["msg"][1:]
            message = message.removeprefix("input should be ").replace("a valid", "a")
            message = f"must be {message}"
    text = "null" if value is None else str(value)
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return f"{field} = {text}: {message}"


def _expected(context: Mapping[str, Any], value: object) -> str:
    valid = re.findall(r"'([^']*)'", str(context.get("expected", "")))
    return nearest(str(value), valid)
