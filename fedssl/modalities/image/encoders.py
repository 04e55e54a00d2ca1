"""Encoders: networks that map images [B, 3, H, W] to features [B, ``features``]."""

from itertools import pairwise
from typing import ClassVar, Literal, cast

import torch
import torchvision
from pydantic import Field
from torch import Tensor, nn

from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.image.library_encoders import Timm, Torchvision
from fedssl.modalities.image.stem import Stem, is_small
from fedssl.modalities.image.vit import ViTTiny
from fedssl.networks.encoder import EncoderConfig, build_from_section, encoder_registry


def _layout(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


class ConvNet(nn.Module):
    """Four convolutions, 0.13 M parameters: for CPUs and quick studies of small images."""

    class Config(EncoderConfig):
        """The ``model.encoder`` section of the small convolutional network."""

        name: Literal["convnet"] = "convnet"
        """Four convolutions."""
        width: int = Field(32, ge=1, le=4096)
        """The channels of the first layer; the next have two, two and four times as many."""
        channels_last: bool = True
        """Images, and so all maps, in the layout channels last: 1.4 times as fast on a CPU."""

    def __init__(self, config: Config, spec: ExampleSpec):
        super().__init__()
        width = config.width
        self.features = 4 * width
        self.layout = _layout(config.channels_last)
        channels = [3, width, 2 * width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(pairwise(channels)):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
            if place < 3:
                layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, ``features``] of images [B, 3, H, W], H and W at least 8."""
        images = images.contiguous(memory_format=self.layout)
        return cast(Tensor, self.layers(images)).mean(dim=(2, 3))


class ResNet(nn.Module):
    """A ResNet (He et al., 2016) without its classifier."""

    class Config(EncoderConfig):
        """The ``model.encoder`` section of a ResNet."""

        stem: Stem = "auto"
        """First layers. cifar: one 3×3 convolution of stride 1 and no max-pooling; imagenet: the
        original 7×7 of stride 2 and the max-pooling; auto: cifar up to 64 pixels a side."""
        channels_last: bool = True
        """Images, and so all maps, in the layout channels last: usually faster."""

    depth: ClassVar[int]
    """The number of layers."""

    def __init__(self, config: Config, spec: ExampleSpec):
        super().__init__()
        self.layout = _layout(config.channels_last)
        network = getattr(torchvision.models, f"resnet{self.depth}")(weights=None)
        self.features: int = network.fc.in_features
        network.fc = nn.Identity()
        if is_small(config.stem, spec):
            network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
            network.maxpool = nn.Identity()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, ``features``] of images [B, 3, H, W]."""
        images = images.contiguous(memory_format=self.layout)
        return cast(Tensor, self.network(images))


class ResNet18(ResNet):
    """11 M parameters: the usual choice on a GPU."""

    class Config(ResNet.Config):
        """The ``model.encoder`` section of ResNet-18."""

        name: Literal["resnet18"] = "resnet18"
        """ResNet-18."""

    depth = 18


class ResNet34(ResNet):
    """21 M parameters: as in the L-DAWA paper."""

    class Config(ResNet.Config):
        """The ``model.encoder`` section of ResNet-34."""

        name: Literal["resnet34"] = "resnet34"
        """ResNet-34."""

    depth = 34


class ResNet50(ResNet):
    """24 M parameters, 2,048 features."""

    class Config(ResNet.Config):
        """The ``model.encoder`` section of ResNet-50."""

        name: Literal["resnet50"] = "resnet50"
        """ResNet-50."""

    depth = 50


ENCODERS = encoder_registry(
    "image",
    ConvNet,
    ResNet18,
    ResNet34,
    ResNet50,
    ViTTiny,
    families={"torchvision": Torchvision, "timm": Timm},
)
"""The encoders of images by name."""


def build_encoder(name: str, side: int, **fields: object) -> nn.Module:
    """Build an encoder by its name and fields, for images of a side in pixels; see `build`.

    Raises
    ------
    ValueError
        There is no such encoder, or a field is wrong.
    """
    section = cast(EncoderConfig, ENCODERS.read({"name": name, **fields}))
    return build_from_section(
        ENCODERS, section, ExampleSpec.of("image", (3, side, side), torch.uint8)
    )
