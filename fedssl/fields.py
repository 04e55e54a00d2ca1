"""The base of every config model, and how a model is picked by its ``name``."""

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema


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


class Choice:
    """Validate a section by the model that its ``name`` picks from a table.

    Parameters
    ----------
    table : Mapping[str, type[Fields]]
        The models by name.
    custom : type[Fields] | None
        The model for a dotted path such as ``my_module.MyClass``; None where there is none.
    """

    tagged = True
    """Whether an error's place has the name picked after the section's, as in pydantic's unions."""

    def __init__(self, table: Mapping[str, type[Fields]], custom: type[Fields] | None = None):
        self.table = dict(table)
        self.custom = custom

    @property
    def names(self) -> list[str]:
        """The names to choose from; a dotted path is shown by an example."""
        return [*self.table, *([DOTTED_PATH] if self.custom else [])]

    def pick(self, name: object) -> type[Fields] | None:
        """Return the model for ``name``, or None where there is none."""
        if isinstance(name, str) and "." in name:
            return self.custom
        return self.table.get(name) if isinstance(name, str) else None

    def names_for(self, section: object) -> list[str]:
        """Return the names to choose from, in a section with these values."""
        return self.names

    def pick_section(self, section: object) -> type[Fields] | None:
        """Return the model for a section's ``name``, or None where there is none."""
        return self.pick(section.get("name")) if isinstance(section, Mapping) else None

    def _tag(self, value: Any) -> Any:
        name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
        return DOTTED_PATH if self.custom and self.pick(name) is self.custom else name

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Build a union tagged by ``name``, whatever the annotated (base) type is."""
        models = {**self.table, **({DOTTED_PATH: self.custom} if self.custom else {})}
        return core_schema.tagged_union_schema(
            {name: handler.generate_schema(model) for name, model in models.items()},
            discriminator=self._tag,
        )


class OfOther(ABC):
    """Marks a section whose type depends on another section of the same config."""

    @abstractmethod
    def pick(self, around: object) -> Any:
        """Return the section's type, for pydantic, in a config with these values."""
