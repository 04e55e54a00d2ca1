"""The sections of a config whose fields depend on what the examples are."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import (
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from fedssl.base.fields import DOTTED_PATH, Choice, DependentSection, DottedPath, Fields
from fedssl.base.import_path import NotFoundError, load_dotted
from fedssl.base.registry import model_with_name
from fedssl.data.config import DataConfig
from fedssl.modalities.base import Modality
from fedssl.modalities.model_config import ModelConfig
from fedssl.modalities.registry import MODALITIES, modality_of
from fedssl.views.policy import policy_type


@cache
def policy_of(modality: Modality) -> Any:
    """Return the annotated type of the ``views`` section of a modality."""
    return policy_type(modality.view_steps, modality.view_policies)


def model_of(modality: Modality) -> type[ModelConfig]:
    """Return the type of the ``model`` section of a modality."""
    return modality.model


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    is_model = isinstance(kind, type) and issubclass(kind, Fields)
    return TypeAdapter(kind, config=None if is_model else ConfigDict(strict=True))


class OfOwnModality(DataConfig):
    """The ``data`` section of a modality of the user's own, whose further fields only it knows."""

    model_config = ConfigDict(extra="allow")

    modality: DottedPath
    """The dotted path of the modality."""


class _AllDataSets:
    """Those of all modalities; see `Choices`."""

    custom = OfOwnModality
    is_closed = False

    @property
    def models(self) -> dict[str, type[Fields]]:
        """The ``data`` sections of all data sets by name."""
        return {name: model for name in self if (model := self.model(name))}

    def model(self, name: str) -> type[Fields] | None:
        """Return the ``data`` section of a data set, of whichever modality."""
        of = (each.data_sets for each in MODALITIES.values() if name in each.data_sets)
        return next((sets.model(name) for sets in of), None)

    def __iter__(self) -> Iterator[str]:
        return (name for modality in MODALITIES.values() for name in modality.data_sets)


class DataSets(Choice):
    """Validates the ``data`` section by the data set that it names, of any modality."""

    def __init__(self) -> None:
        super().__init__(_AllDataSets(), DataConfig)

    def names_for(self, section: object) -> list[str]:
        """Return the names to choose from, of the modality that a section gives, if any."""
        given = section.get("modality") if isinstance(section, Mapping) else None
        try:
            modality = MODALITIES.find(given) if isinstance(given, str) else None
        except ValueError:
            modality = None
        return [*modality.data_sets, DOTTED_PATH] if modality else self.names

    def pick_section(self, section: object) -> type[Fields] | None:
        """Return the model of a section, or None where it names no data set.

        Raises
        ------
        ValueError
            The section names a modality that is not there.
        """
        values = section if isinstance(section, Mapping) else {"name": section}
        name, given = values.get("name"), values.get("modality", "image")
        if not isinstance(given, str):
            raise ValueError("modality: must be the name of one, such as image")
        if not isinstance(name, str):
            return None
        modality = MODALITIES.find(given, "modality")
        # What is of another modality says so itself, by its field `modality`.
        model = modality.data_sets.model(name) if name in modality.data_sets else None
        model = model or self.choices.model(name)
        return model or (_own_set(name, modality) if "." in name else None)

    @property
    def others(self) -> list[type[Fields]]:
        """The sections of data sets of the user's own."""
        return [*(modality.own_data for modality in MODALITIES.values()), OfOwnModality]


def _own_set(path: str, modality: Modality) -> type[Fields]:
    """Return the section of a user's own data set: a `DataConfig`, or what calls a function."""
    try:
        item = load_dotted(path)
    except NotFoundError:  # Told when the function is called: a section can be read without it.
        return modality.own_data
    is_section = isinstance(item, type) and issubclass(item, DataConfig)
    return model_with_name(item, path) if is_section else modality.own_data


class OfModality(DependentSection):
    """Validates a section by the type that the modality of the ``data`` section gives it.

    Parameters
    ----------
    type_of : Callable[[Modality], Any]
        Returns the type: a model, or an annotated one.
    """

    def __init__(self, type_of: Callable[[Modality], Any]):
        self._type_of = type_of

    def pick(self, root: object) -> Any:
        """Return the section's type in a config with these values, validated or not."""
        data = root.get("data") if isinstance(root, Mapping) else None
        return self._type_of(_modality(data))

    def _validate(self, value: Any, info: ValidationInfo) -> Any:
        # Where that section is wrong nobody knows what fits here, and the config is refused anyway.
        if "data" not in info.data:
            return value
        modality = modality_of(info.data["data"])
        return _adapter(self._type_of(modality)).validate_python(value, context=info.context)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Build what validates by the modality."""
        return core_schema.with_info_plain_validator_function(
            self._validate, serialization=core_schema.simple_ser_schema("any")
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe what any modality takes; only now are all of them imported."""
        kinds = [_adapter(self._type_of(m)).core_schema for m in MODALITIES.values()]
        return handler(core_schema.union_schema(list(kinds)))


def _modality(data: object) -> Modality:
    """Return the modality of a ``data`` section; images' where it cannot be told."""
    if isinstance(data, DataConfig):
        return modality_of(data)
    try:
        model = DATA_SETS.pick_section(data)
        given = data.get("modality") if isinstance(data, Mapping) else None
        name = given or (model and model.model_fields["modality"].default)
        return MODALITIES.find(str(name), "modality")
    except ValueError:
        return MODALITIES["image"]


DATA_SETS = DataSets()
VIEWS = OfModality(policy_of)
MODEL = OfModality(model_of)
