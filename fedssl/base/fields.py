"""The base class of config models, common field types, and sections with a ``name``."""

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Fields(BaseModel):
    """A section of a config: immutable, without unknown keys, and with strict types.

    Examples
    --------
    >>> class Decay(Fields):
    ...     factor: Number = 0.5
    >>> Decay(factor=0.25)
    Decay(factor=0.25)
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    @field_validator("*", mode="after")
    @classmethod
    def _fits_64_bits(cls, value: Any) -> Any:
        _check_whole_numbers(value)
        return value

    @model_validator(mode="after")
    def _further_fields_fit_64_bits(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            try:
                _check_whole_numbers(value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return self


def _check_whole_numbers(value: Any) -> None:
    """Raise a ValueError for an integer that a config file cannot hold."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("must fit into 64 bits")
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        for part in value:
            _check_whole_numbers(part)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


class FromShell(str):
    """A value from the command line; as a path, it is relative to the current folder."""


def _path(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, (str, Path)):
        return value
    if "\0" in str(value):
        raise ValueError("holds a NUL character, which no path has")
    base = Path.cwd() if isinstance(value, FromShell) else (info.context or {}).get("base", "")
    try:
        return Path(base) / Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f"there is no such home folder: {error}") from None


def suggest_name(name: str, valid: list[str]) -> str:
    """Return a hint with the valid name most similar to ``name``, or with all if none is similar.

    Examples
    --------
    >>> suggest_name("simcrl", ["simclr", "byol"])
    'did you mean simclr?'
    >>> suggest_name("x", ["simclr", "byol"])
    'choose one of simclr, byol'
    """
    # Comparing long texts takes time, and no name is so long.
    close = difflib.get_close_matches(name[:100], valid, n=1)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(valid)}"


Listed = BeforeValidator(_tuple)
"""Lets a tuple field accept a list, as YAML has it: ``Annotated[tuple[int, ...], Listed]``."""

Number = Annotated[float, AfterValidator(_finite)]
"""A finite float."""

File = Annotated[Path, BeforeValidator(_path)]
"""A path; a relative one is resolved against the config file's folder before validation."""


DOTTED_PATH = "my_module.MyClass"

DottedPath = Annotated[str, Field(pattern=r"\.")]
"""The dotted path of user-defined code."""


class CustomSection(Fields):
    """A section that names your own class by its dotted path and has that class's fields."""

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """The dotted path of the class."""


class Choices(Protocol):
    """The registry from which a `Choice` chooses."""

    @property
    def custom(self) -> "type[Fields] | None":
        """The model of sections with a dotted path; None if there is none."""

    @property
    def is_closed(self) -> bool:
        """Whether user-defined classes are excluded."""

    @property
    def models(self) -> "Mapping[str, type[Fields]]":
        """The models of the sections of all names."""

    def model(self, name: str, /) -> "type[Fields] | None":
        """Return the model of the section with this name; None if there is none."""

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""


class Choice:
    """Validates a section with the model that belongs to its ``name``.

    Parameters
    ----------
    choices : Choices
        The models by name.
    base : type[Fields]
        The base class of the models.
    """

    def __init__(self, choices: Choices, base: type[Fields]):
        self.choices = choices
        self.base = base

    @property
    def names(self) -> list[str]:
        """The valid names, with an example of a dotted path."""
        return [*self.choices, *([] if self.choices.is_closed else [DOTTED_PATH])]

    @property
    def others(self) -> list[type[Fields]]:
        """The models of sections that name user-defined code."""
        if self.choices.custom or self.choices.is_closed:
            return [self.choices.custom] if self.choices.custom else []
        return [CustomSection]

    def names_for(self, section: object) -> list[str]:
        """Return the valid names for a section with these values."""
        return self.names

    def pick_section(self, section: object) -> type[Fields] | None:
        """Return the model for a section's ``name``; None if there is none.

        Raises
        ------
        ValueError
            The name is a dotted path, but not that of a class of this kind.
        """
        name = section.get("name") if isinstance(section, Mapping) else section
        return self.choices.model(name) if isinstance(name, str) else None

    def _validate(self, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, self.base):
            return value
        if not isinstance(value, (str, Mapping)):
            raise PydanticCustomError("dict_type", "Input should be a section of fields")
        model = self.pick_section(value)
        if model is None:
            raise PydanticCustomError("union_tag_invalid", "There is no such choice")
        section = {"name": value} if isinstance(value, str) else value
        return model.model_validate(section, context=info.context)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return a schema that validates by ``name`` and ignores the annotated base type."""
        return core_schema.with_info_plain_validator_function(
            self._validate, serialization=core_schema.simple_ser_schema("any")
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return a JSON schema of all sections, or of a name alone; this imports all plug-ins."""
        named = self.choices.models
        sections: list[CoreSchema] = [
            core_schema.tagged_union_schema(
                {name: model.__pydantic_core_schema__ for name, model in named.items()},
                discriminator="name",
            )
        ]
        sections += [model.__pydantic_core_schema__ for model in self.others]
        return handler(core_schema.union_schema([*sections, core_schema.str_schema()]))


class DependentSection(ABC):
    """Marks a section whose type depends on another section of the config."""

    @abstractmethod
    def pick(self, around: object) -> Any:
        """Return the section's type for pydantic, in a config with these values."""
