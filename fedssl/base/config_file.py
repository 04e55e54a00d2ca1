"""Read and validate a config from a YAML file and ``key=value`` overrides.

A relative path in a file is relative to that file; one in an override, to the current folder.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from fedssl.base import yaml_reader
from fedssl.base.errors import ConfigError as ConfigError
from fedssl.base.fields import Choice, DependentSection, Fields, FromShell, suggest_name
from fedssl.base.plain_files import read_text
from fedssl.base.printable import printable, printable_value

Config = TypeVar("Config", bound=Fields)


MAX_PROBLEMS = 20
"""The maximum number of a config's problems in a message."""


class _Dumper(yaml.SafeDumper):
    """A dumper whose output `yaml_reader` reads unchanged: it quotes texts like numbers."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?0o[0-7_]+$"), list("-+0"))


def parse_yaml(
    text: str,
    source: str,
    most_bytes: int = yaml_reader.BYTES,
    most_values: int = yaml_reader.VALUES,
) -> Any:
    """Parse YAML; errors name the ``source``. For the limits see `yaml_reader.parse`.

    Examples
    --------
    >>> parse_yaml("rounds: 5", "config.yaml")
    {'rounds': 5}
    """
    try:
        return yaml_reader.parse(text, most_bytes, most_values)
    except yaml_reader.UnreadableError as error:
        raise ConfigError(f"{printable(source)}: {error}") from None


def read_yaml(path: Path) -> Any:
    """Parse a YAML file; a ConfigError says if it cannot be read, or is not YAML."""
    return parse_yaml(read_text(path, yaml_reader.BYTES), str(path))


def read(model: type[Config], path: Path, overrides: Iterable[str] = ()) -> Config:
    """Read, override and validate a config file.

    With a file ``config.yaml``::

        config = read(Experiment, Path("config.yaml"), ["rounds=5", "strategy.name=fedavg"])

    Parameters
    ----------
    model : type[Fields]
        The model of the config.
    path : Path
        A YAML file.
    overrides : Iterable[str]
        Texts such as ``rounds=5`` or ``strategy.name=fedavg``; the value is read as YAML. If a
        section's ``name`` changes, fields that only the old choice has are removed.

    Raises
    ------
    ConfigError
        Lists all problems of the file, one in a line.
    """
    shown = printable(path)
    try:
        text = yaml_reader.read_text(path)
    except (OSError, yaml_reader.UnreadableError) as error:
        why = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else error
        raise ConfigError(f"{shown}: {why}") from None
    except ValueError:  # A NUL character in the name.
        raise ConfigError(f"{shown}: is no file name") from None
    values = parse_yaml(text, str(path))
    return override(model, values, overrides, base=path.parent, source=str(path))


def override(
    model: type[Config], values: Any, overrides: Iterable[str], *, base: Path, source: str
) -> Config:
    """Override parsed values in place, and validate them; see `read`."""
    _check_fields(values, source)
    # The valid fields of some sections depend on other sections, which are overridden first.
    for each in sorted(overrides, key=lambda text: _is_dependent(model, text)):
        _override(model, values, each)
    return validate(model, values, base=base, source=source)


def validate(model: type[Config], values: Any, *, base: Path, source: str) -> Config:
    """Validate values, such as a parsed YAML file, with a model.

    Raises
    ------
    ConfigError
        Lists all problems, one in a line.
    """
    _check_fields(values, source)
    try:
        return model.model_validate(values, context={"base": base.absolute()})
    except ValidationError as error:
        problems = [
            problem
            for problem in error.errors(include_url=False, include_input=False)
            # A section without a value, whose default depends on a wrong section.
            if problem["type"] != "default_factory_not_called"
        ]
        count, listed = len(problems), problems[:MAX_PROBLEMS]
        head = f"{printable(source)}: " + ("a problem" if count == 1 else f"{count:,} problems")
        lines = _without_repeated_choices([_explain(model, values, problem) for problem in listed])
        if count > len(listed):
            lines.append(f"… and {count - len(listed):,} more")
        raise ConfigError("\n".join([head, *(f"  {line}" for line in lines)])) from None


def explain(model: type[BaseModel], values: Any, error: ValidationError) -> list[str]:
    """Return the problems of a section's values, one in a line with field, value and fix."""
    problems = error.errors(include_url=False, include_input=False)
    return _without_repeated_choices(
        [_explain(model, values, problem) for problem in problems[:MAX_PROBLEMS]]
    )


def _check_fields(values: Any, source: str) -> None:
    if not isinstance(values, dict):
        raise ConfigError(
            f"{printable(source)}: must hold `field: value` lines; `fedssl init` writes a start"
        )


def dump(config: BaseModel) -> str:
    """Return a config as YAML, with all defaults."""
    return as_yaml(config.model_dump(mode="json"))


def as_yaml(values: Mapping[str, Any]) -> str:
    """Return values as YAML from which `parse_yaml` reads the same values.

    Examples
    --------
    >>> print(as_yaml({"lr": 0.1, "note": "1e3"}), end="")
    {lr: 0.1, note: '1e3'}
    """
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, default_flow_style=None)


def _without_repeated_choices(lines: list[str]) -> list[str]:
    """Remove a list of choices from a line if an earlier line has it."""
    listed: set[str] = set()
    shorter = []
    for line in lines:
        before, mark, choices = line.partition("; choose one of ")
        shorter.append(before if mark and choices in listed else line)
        listed.add(choices)
    return shorter


def _is_dependent(model: type[Fields], override: str) -> bool:
    """Return whether an override changes a section whose type depends on another one."""
    field = model.model_fields.get(re.split(r"[.=]", override.strip(), maxsplit=1)[0])
    return field is not None and any(isinstance(mark, DependentSection) for mark in field.metadata)


def _override(model: type[Fields], values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    shown = printable(override, 100)
    if not equals or not all(parts):
        raise ConfigError(f"{shown}: an override is written key=value, such as client.lr=0.05")
    if len(parts) > yaml_reader.DEPTH:
        raise ConfigError(f"{shown}: is nested more than {yaml_reader.DEPTH} levels deep")
    value = _from_shell(parse_yaml(text, shown))
    section, choice = values, None
    current: type[BaseModel] | None = model
    for depth, part in enumerate(parts[:-1]):
        field = current.model_fields.get(part) if current else None
        choice = _choice(field)
        if section.get(part) is None:
            section[part] = _default_choice(field)
        if isinstance(section[part], str) and choice:
            section[part] = {"name": section[part]}
        current = _model_of(field, choice, section, section[part])
        section = section[part]
        if not isinstance(section, dict):
            place = printable(".".join(parts[: depth + 1]), 60)
            raise ConfigError(f"{shown}: {place} is a value, not a section of fields")
    if parts[-1] == "name" and choice and section.get("name") != value:
        _remove_old_fields(choice, section, value)
    section[parts[-1]] = value


def _default_choice(field: FieldInfo | None) -> dict[str, Any]:
    """Return a section with the name that is the field's default."""
    if field is None or _choice(field) is None or field.is_required():
        return {}
    return {"name": field.get_default(call_default_factory=True).name}


def _remove_old_fields(choice: Choice, section: dict[str, Any], value: object) -> None:
    """Remove the fields that the section's old choice has and its new one does not."""
    try:
        old, new = (
            choice.pick_section({**section, "name": n}) for n in (section.get("name"), value)
        )
    except ValueError:  # An unknown modality, which validation reports.
        return
    if old and new:
        for field in [f for f in section if _is_of_old(f, old, new)]:
            del section[field]


def _is_of_old(field: str, old: type[BaseModel], new: type[BaseModel]) -> bool:
    """Return whether only the old choice has a field, or the new one's has other values."""
    if field not in new.model_fields:
        return _knows(old, field)
    old_field, new_field = (model.model_fields.get(field) for model in (old, new))
    kinds = {getattr(f.annotation, "__args__", None) for f in (old_field, new_field) if f}
    return (
        field != "name" and len(kinds) == 2 and all(_is_literal(f) for f in (old_field, new_field))
    )


def _is_literal(field: FieldInfo | None) -> bool:
    return field is not None and get_origin(field.annotation) is Literal


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


def _choice_of_items(annotation: Any) -> Choice | None:
    """Return the choice of a list's items, as in ``tuple[Annotated[X, choice], ...]``."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    item = next(iter(get_args(annotation)), None)
    return next((m for m in getattr(item, "__metadata__", ()) if isinstance(m, Choice)), None)


def _models_along(model: type[BaseModel], values: Any, place: tuple[Any, ...]) -> Any:
    """Yield each part of an error's location.

    With it come the model that has this field, the section's values, and the field's choice.
    """
    current: type[BaseModel] | None = model
    items: Choice | None = None
    parts = list(place)
    while parts:
        part = parts.pop(0)
        field = current.model_fields.get(part) if current and isinstance(part, str) else None
        choice = _choice(field) or items
        yield part, current, values, choice
        value = _get(values, part)
        current = _model_of(field, choice, values, value)
        items, values = _choice_of_items(_annotation(field, values)), value


def _model_of(
    field: FieldInfo | None, choice: Choice | None, around: Any, value: Any
) -> type[BaseModel] | None:
    """Return the model of a field's value, given its section's values; None if it has none."""
    if choice is not None:
        return _picked(choice, value)
    annotation = _annotation(field, around)
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def _annotation(field: FieldInfo | None, around: Any) -> Any:
    """Return a field's type, given its section's values."""
    if field is None:
        return None
    marked = next((m for m in field.metadata if isinstance(m, DependentSection)), None)
    return marked.pick(around) if marked else field.annotation


def _picked(choice: Choice, section: Any) -> type[BaseModel] | None:
    try:
        return choice.pick_section(section)
    except ValueError:
        return None


def _get(values: Any, part: Any) -> Any:
    # A name alone is a section without other fields.
    if isinstance(values, str) and part == "name":
        return values
    if isinstance(values, Mapping):
        return values.get(part)
    if isinstance(values, (list, tuple)) and isinstance(part, int) and part < len(values):
        return values[part]
    return None


_KINDS = {
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a section of fields",
    "model_type": "must be a section of fields",
    "model_attributes_type": "must be a section of fields",
}
"""What pydantic calls otherwise than a person who writes YAML does."""


def _explain(model: type[BaseModel], values: Any, problem: Mapping[str, Any]) -> str:
    steps = list(_models_along(model, values, tuple(problem["loc"])))
    field = printable(".".join(str(part) for part, *_ in steps), 100)
    last, owner, around, choice = steps[-1] if steps else (None, model, values, None)
    value = _get(around, last) if steps else values
    context = problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden":
            valid = [name for name in owner.model_fields if name != last] if owner else []
            return f"{field}: unknown field; {suggest_name(str(last), valid)}"
        case "missing":
            return f"{field}: is missing"
        case "union_tag_invalid" | "union_tag_not_found":
            names = choice.names_for(value) if choice else []
            given = value if isinstance(value, str) else _get(value, "name")
            if given is None:
                return f"{field}: needs a `name`; choose one of {', '.join(names)}"
            shown, name = printable_value(given), "" if isinstance(value, str) else ".name"
            return f"{field}{name} = {shown}: there is no such choice; {suggest_name(shown, names)}"
        case "value_error":
            message = str(context["error"])
            if isinstance(value, str):
                message = message.removeprefix(f"name = {printable_value(value)}: ")
            # A check over several fields names them itself.
            if not steps or isinstance(value, (dict, list)):
                named = isinstance(value, dict) and re.split(r"\W", message)[0] in value
                return f"{field}{'.' if named else ': '}{message}" if field else message
        case "union_tag" | "literal_error":
            message = f"there is no such choice; {_expected(context, value)}"
        case "int_type" | "float_type" | "bool_type" as kind:
            message = _KINDS[kind] + _hint(value, kind)
        case kind if kind in _KINDS:
            message = _KINDS[kind]
        case _:
            message = problem["msg"][0].lower() + problem["msg"][1:]
            message = message.removeprefix("input should be ").replace("a valid", "a")
            message = f"must be {message}"
    return f"{field} = {_quoted(value)}: {message}"


def _quoted(value: Any) -> str:
    """Return a value as in YAML, with quotes if it would otherwise be a number or the like."""
    return f'"{value}"' if isinstance(value, str) and _plain(value) else printable_value(value)


def _plain(text: str) -> bool:
    """Return whether YAML reads a text without quotes as another type."""
    try:
        return len(text) < 100 and isinstance(yaml_reader.parse(text), (bool, int, float))
    except yaml_reader.UnreadableError:
        return False


def _hint(value: Any, kind: str) -> str:
    if isinstance(value, str):
        if _plain(value):
            return ", but this is text, since it stands in quotes; write it without them"
        if kind != "bool_type" and re.fullmatch(r"[-+]?0[0-9_]{1,20}", value):
            number = int(value.replace("_", ""))
            return f"; write {number}: a leading zero may mean an octal number"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"; write {printable_value(int(value), 40)}"
    return ""


def _expected(context: Mapping[str, Any], value: object) -> str:
    valid = re.findall(r"'([^']*)'", str(context.get("expected", "")))
    return suggest_name(printable_value(value), valid)
