"""Encoders: networks that map images [B, 3, H, W] to features [B, ``features``]."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Literal, cast

import torch
import torchvision
from torch import Tensor, nn

from fedssl.modalities.image.libraries import build_of_library
from fedssl.modalities.image.vit import VisionTransformer

Stem = Literal["cifar", "imagenet"]

SMALL_IMAGE = 64
"""The largest side, in pixels, for which the stem `auto` keeps the full resolution."""


def _layout(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


class ConvNet(nn.Module):
    """Four convolutions of 32 to 128 channels: for CPUs and quick studies of small images.

    Parameters
    ----------
    width : int
        The channels of the first layer; the next have two, two and four times as many.
    channels_last : bool
        The layout in memory of the images, and so of all maps: 1.4 times as fast on a CPU.
    """

    def __init__(self, width: int = 32, channels_last: bool = True):
        super().__init__()
        self.features = 4 * width
        self.layout = _layout(channels_last)
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
    """A ResNet (He et al., 2016) without its classifier.

    Parameters
    ----------
    depth : {18, 34, 50}
        The number of layers.
    stem : {"cifar", "imagenet"}
        "cifar": one 3×3 convolution of stride 1 and no max-pooling, for images up to 64 pixels;
        "imagenet": the original 7×7 of stride 2 and the max-pooling.
    channels_last : bool
        The layout in memory of the images, and so of all maps.
    """

    def __init__(self, depth: int, stem: Stem, channels_last: bool = True):
        super().__init__()
        self.layout = _layout(channels_last)
        network = getattr(torchvision.models, f"resnet{depth}")(weights=None)
        self.features: int = network.fc.in_features
        network.fc = nn.Identity()
        if stem == "cifar":
            network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
            network.maxpool = nn.Identity()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, ``features``] of images [B, 3, H, W]."""
        images = images.contiguous(memory_format=self.layout)
        return cast(Tensor, self.network(images))


ENCODERS: dict[str, tuple[str, Callable[[Stem, bool], nn.Module]]] = {
    "convnet": (
        "Four convolutions, 0.13 M parameters: for CPUs and quick studies of small images.",
        lambda _, channels_last: ConvNet(channels_last=channels_last),
    ),
    "resnet18": ("11 M parameters: the usual choice on a GPU.", partial(ResNet, 18)),
    "resnet34": ("21 M parameters: as in the L-DAWA paper.", partial(ResNet, 34)),
    "resnet50": ("24 M parameters, 2,048 features.", partial(ResNet, 50)),
    "vit-tiny": (
        "5.4 M parameters, a transformer without BatchNorm: for mae and dino, and many images.",
        lambda stem, _: VisionTransformer(4 if stem == "cifar" else 16),
    ),
}
"""By name: when to use it, and how to build it for a stem and ``channels_last``."""


def stem_for(stem: Literal["auto", "cifar", "imagenet"], image_size: int) -> Stem:
    """Return what `auto` means for images of this side, in pixels."""
    if stem == "auto":
        return "cifar" if image_size <= SMALL_IMAGE else "imagenet"
    return stem


def build_encoder(
    name: str,
    image_size: int,
    stem: Literal["auto", "cifar", "imagenet"] = "auto",
    channels_last: bool = True,
) -> nn.Module:
    """Build an encoder with torch's global generator (see `seeding.initialising`).

    Parameters
    ----------
    name : str
        A name of `ENCODERS`, or ``torchvision/NAME`` or ``timm/NAME``.
    image_size : int
        The images' side in pixels, which decides the stem `auto`.
    stem : {"auto", "cifar", "imagenet"}
        See `ResNet`; a transformer's patches are 4 pixels wide with "cifar", else 16. Another
        library's encoder is as it is there.
    channels_last : bool
        Also see there.

    Raises
    ------
    ValueError
        A library has no such model or is not installed.
    """
    if name in ENCODERS:
        return ENCODERS[name][1](stem_for(stem, image_size), channels_last)
    return build_of_library(name, image_size, channels_last)
