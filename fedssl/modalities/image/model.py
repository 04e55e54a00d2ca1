"""The ``model`` section of images."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from fedssl.modalities.image.libraries import check_name, is_of_library
from fedssl.modalities.model_config import ModelConfig


def _of_library(name: str) -> str:
    if is_of_library(name):
        check_name(name)
    return name


class ImageModel(ModelConfig):
    """The ``model`` section of images."""

    encoder: Annotated[str, AfterValidator(_of_library)] = "convnet"
    """The network to train: a name that `fedssl list` prints, torchvision/NAME (one of its
    classifiers), timm/NAME (where timm is installed), or a dotted path."""
    stem: Literal["auto", "cifar", "imagenet"] = "auto"
    """First layers: cifar keeps the resolution (patches of 4); auto takes it up to 64 pixels."""
    channels_last: bool = True
    """Images in the layout channels last, usually faster; an encoder of your own sees to itself."""
