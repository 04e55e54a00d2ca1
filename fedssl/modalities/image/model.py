"""The ``model`` section of images."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import model_validator

from fedssl.base.printable import printable_value
from fedssl.modalities.image.encoders import ENCODERS, ConvNet
from fedssl.modalities.image.stem import Stem
from fedssl.modalities.model_config import ModelConfig
from fedssl.networks.encoder import EncoderConfig

_OF_ENCODERS: dict[str, tuple[object, ...]] = {
    "stem": get_args(Stem),
    "channels_last": (True, False),
}
"""The fields that once were the model's, whatever its encoder, and what each could be."""


class ImageModel(ModelConfig):
    """The ``model`` section of images."""

    encoder: Annotated[EncoderConfig, ENCODERS.choice] = ConvNet.Config()
    """The network to train: a name that `fedssl list` prints, torchvision/NAME (one of its
    classifiers), timm/NAME (where timm is installed), a dotted path, or a section with fields."""

    @model_validator(mode="before")
    @classmethod
    def _give_the_encoder_its_fields(cls, values: Any) -> Any:
        """Read configs and model files in which ``stem`` and ``channels_last`` were the model's."""
        if not isinstance(values, Mapping) or not _OF_ENCODERS.keys() & values.keys():
            return values
        section_values = dict(values)
        encoder = section_values.get("encoder", "convnet")
        if isinstance(encoder, EncoderConfig):
            encoder = encoder.model_dump()
        section = dict(encoder) if isinstance(encoder, Mapping) else {"name": encoder}
        name = section.get("name")
        kind = ENCODERS.model(name) if isinstance(name, str) else None
        for field, valid in _OF_ENCODERS.items():
            if field not in section_values:
                continue
            value = section_values.pop(field)
            if not isinstance(value, type(valid[0])) or value not in valid:
                choices = ", ".join(map(printable_value, valid))
                raise ValueError(f"{field} = {printable_value(value)}: choose one of {choices}")
            if kind is None or field not in kind.model_fields:
                continue
            if section.setdefault(field, value) != value:
                other = printable_value(section[field])
                raise ValueError(
                    f"{field} = {printable_value(value)}: but encoder.{field} = {other}; give that "
                    "alone"
                )
        return {**section_values, "encoder": section}
