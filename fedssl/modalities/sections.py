"""The sections of a config whose fields depend on what the examples are."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from fedssl.data.config import DataConfig
from fedssl.fields import DOTTED_PATH, Choice, Dotted, Fields, OfOther
from fedssl.modalities.base import Modality
from fedssl.modalities.model_config import ModelConfig
from fedssl.modalities.registry import MODALITIES, modality_of
from fedssl.views.policy import policy_type


@cache
def policy_of(modality: Modality) -> Any:
    """Return the annotated type of the ``views`` section of a modality."""
    return policy_type(
        modality.steps, {name: policy.steps for name, policy in modality.policies.items()}
    )


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

    modality: Dotted
    """The dotted path of the modality."""


class DataSets(Choice):
    """Validates the ``data`` section by the data set that it names, of any modality."""

    tagged = False

    def __init__(self) -> None:
        super().__init__({})

    @property
    def names(self) -> list[str]:
        """The names to choose from; a dotted path is shown by an example."""
        return [*self.models(), DOTTED_PATH]

    @staticmethod
    def models() -> dict[str, type[DataConfig]]:
        """Return the ``data`` sections of all data sets by name."""
        found: dict[str, type[DataConfig]] = {}
        for modality in MODALITIES.values():
            for name, model in modality.data.items():
                found.setdefault(name, model)
        return found

    def names_for(self, section: object) -> list[str]:
        """Return the names to choose from, of the modality that a section gives, if any."""
        given = section.get("modality") if isinstance(section, Mapping) else None
        try:
            modality = MODALITIES.find(given) if isinstance(given, str) else None
        except ValueError:
            modality = None
        return [*modality.data, DOTTED_PATH] if modality else self.names

    def pick_section(self, section: object) -> type[Fields] | None:
        """Return the model of a section, or None where it names no data set.

        Raises
        ------
        ValueError
            The section names a modality that is not there.
        """
        if not isinstance(section, Mapping):
            return None
        name, given = section.get("name"), section.get("modality", "image")
        if not isinstance(given, str):
            raise ValueError("modality: must be the name of one, such as image")
        if not isinstance(name, str):
            return None
        modality = MODALITIES.find(given)
        if "." in name:
            return modality.own_data
        # What is of another modality says so itself, by its field `modality`.
        return modality.data.get(name) or self.models().get(name)

    def _validate(self, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, DataConfig):
            return value
        if not isinstance(value, Mapping):
            raise PydanticCustomError("dict_type", "Input should be a section of fields")
        model = self.pick_section(value)
        if model is None:
            raise PydanticCustomError("union_tag_invalid", "There is no such data set")
        return _adapter(model).validate_python(value, context=info.context)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Build what validates by the section's name, and a schema of all that it may hold."""
        named = core_schema.tagged_union_schema(
            {name: handler.generate_schema(model) for name, model in self.models().items()},
            discriminator="name",
        )
        own = [each.own_data for each in MODALITIES.values()]
        others = [handler.generate_schema(model) for model in (*own, OfOwnModality)]
        return core_schema.with_info_plain_validator_function(
            self._validate,
            serialization=core_schema.simple_ser_schema("any"),
            json_schema_input_schema=core_schema.union_schema([named, *others]),
        )


class OfModality(OfOther):
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
        made = _adapter(self._type_of(modality)).validate_python(value, context=info.context)
        if isinstance(made, ModelConfig):
            modality.check_encoder(made.encoder)
        return made

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Build what validates by the modality, and a schema of what any modality takes."""
        kinds = [handler.generate_schema(self._type_of(m)) for m in MODALITIES.values()]
        return core_schema.with_info_plain_validator_function(
            self._validate,
            serialization=core_schema.simple_ser_schema("any"),
            json_schema_input_schema=core_schema.union_schema(list(kinds)),
        )


def _modality(data: object) -> Modality:
    """Return the modality of a ``data`` section; images' where it cannot be told."""
    if isinstance(data, DataConfig):
        return modality_of(data)
    try:
        model = DATA_SETS.pick_section(data)
        given = data.get("modality") if isinstance(data, Mapping) else None
        return MODALITIES.find(str(given or (model and model.model_fields["modality"].default)))
    except ValueError:
        return MODALITIES["image"]


DATA_SETS = DataSets()
VIEWS = OfModality(policy_of)
MODEL = OfModality(model_of)
