"""The base of every config model, and how a model is picked by its ``name``."""

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
    """A part of the config: immutable, unknown keys refused, numbers never read from strings."""

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
    """Refuse whole numbers that a config file could not hold again."""
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
    """A value given on the command line: as a path, it is relative to the current folder."""


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


def nearest(name: str, valid: list[str]) -> str:
    """Return a hint at the valid name nearest to ``name``, or at all of them where none is near."""
    # Nothing so long is a misspelt name, and comparing takes time.
    close = difflib.get_close_matches(name[:100], valid, n=1)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(valid)}"


Listed = BeforeValidator(_tuple)
"""Marks a tuple field, which YAML writes as a list: ``Annotated[tuple[int, ...], Listed]``."""

Number = Annotated[float, AfterValidator(_finite)]
"""A finite float."""

File = Annotated[Path, BeforeValidator(_path)]
"""A path; relative ones are resolved against the config file's folder before validation."""


DOTTED_PATH = "my_module.MyClass"

Dotted = Annotated[str, Field(pattern=r"\.")]
"""The name of something of one's own: a dotted path."""


class OwnSection(Fields):
    """A section that names a class of your own by its dotted path; its fields are that class's."""

    model_config = ConfigDict(extra="allow")

    name: Dotted
    """The dotted path."""


class Choices(Protocol):
    """What a `Choice` chooses from: a registry."""

    @property
    def custom(self) -> "type[Fields] | None":
        """The model of a section that names a class by its dotted path, where it has one."""

    @property
    def is_closed(self) -> bool:
        """Whether no class of the user's own can be named."""

    @property
    def models(self) -> "Mapping[str, type[Fields]]":
        """The models of all sections that there are names for."""

    def model(self, name: str, /) -> "type[Fields] | None":
        """Return the model of a section of this name, or None where there is none."""

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""


class Choice:
    """Validate a section by the model that its ``name`` picks.

    Parameters
    ----------
    choices : Choices
        The models by name.
    base : type[Fields]
        What each is a subclass of.
    """

    def __init__(self, choices: Choices, base: type[Fields]):
        self.choices = choices
        self.base = base

    @property
    def names(self) -> list[str]:
        """The names to choose from; a dotted path is shown by an example."""
        return [*self.choices, *([] if self.choices.is_closed else [DOTTED_PATH])]

    @property
    def others(self) -> list[type[Fields]]:
        """The models of sections that name something of the user's own."""
        if self.choices.custom or self.choices.is_closed:
            return [self.choices.custom] if self.choices.custom else []
        return [OwnSection]

    def names_for(self, section: object) -> list[str]:
        """Return the names to choose from, in a section with these values."""
        return self.names

    def pick_section(self, section: object) -> type[Fields] | None:
        """Return the model for a section's ``name``, or None where there is none.

        Raises
        ------
        ValueError
            It is a dotted path that leads to nothing of this kind.
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
        """Build what validates by ``name``, whatever the annotated (base) type is."""
        return core_schema.with_info_plain_validator_function(
            self._validate, serialization=core_schema.simple_ser_schema("any")
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe a section by each name, or a name alone; only now are all of them imported."""
        named = self.choices.models
        sections: list[CoreSchema] = [
            core_schema.tagged_union_schema(
                {name: model.__pydantic_core_schema__ for name, model in named.items()},
                discriminator="name",
            )
        ]
        sections += [model.__pydantic_core_schema__ for model in self.others]
        return handler(core_schema.union_schema([*sections, core_schema.str_schema()]))


class OfOther(ABC):
    """Marks a section whose type depends on another section of the same config."""

    @abstractmethod
    def pick(self, around: object) -> Any:
        """Return the section's type, for pydantic, in a config with these values."""
