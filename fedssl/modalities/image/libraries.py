"""Encoders of other libraries, by their names there: torchvision's, and timm's where installed."""

import importlib
from typing import cast

import torch
import torchvision
from torch import Tensor, nn

from fedssl.fields import nearest

LIBRARIES = ("torchvision", "timm")

_UNFIT = {
    "googlenet": "has auxiliary classifiers",
    "inception_v3": "has auxiliary classifiers",
    "squeezenet1_0": "has no linear classifier to be taken off",
    "squeezenet1_1": "has no linear classifier to be taken off",
}


class LibraryEncoder(nn.Module):
    """A network of another library without its classifier, and without dropout of any kind.

    Dropout draws from torch's global generator, so that no run could be repeated.

    Parameters
    ----------
    network : nn.Module
        Maps images [B, 3, H, W] to features [B, F].
    features : int
        F.
    channels_last : bool
        The layout in memory of the images, and so of all maps.
    """

    def __init__(self, network: nn.Module, features: int, channels_last: bool):
        super().__init__()
        self.network, self.features = network, features
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        for module in network.modules():
            # Of Dropout and StochasticDepth; of timm's DropPath and DropBlock; of attention; of
            # timm's networks that call dropout as a function.
            for rate in ("p", "drop_prob", "dropout", "attention_dropout", "drop_rate"):
                if isinstance(getattr(module, rate, None), float):
                    setattr(module, rate, 0.0)

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, F] of images [B, 3, H, W]."""
        return cast(Tensor, self.network(images.contiguous(memory_format=self.layout)))


def is_of_library(name: str) -> bool:
    """Tell whether an encoder's name is ``LIBRARY/NAME``."""
    return name.partition("/")[0] in LIBRARIES and "/" in name


def check_name(name: str) -> None:
    """Raise a ValueError where torchvision has no such classifier; timm is asked when it is built.

    Parameters
    ----------
    name : str
        ``LIBRARY/NAME``.
    """
    library, _, own = name.partition("/")
    if library == "torchvision":
        names = torchvision.models.list_models(module=torchvision.models)
        if own not in names:
            raise ValueError(f"torchvision has no such classifier; {nearest(own, names)}")
        if own in _UNFIT:
            raise ValueError(f"it {_UNFIT[own]}; choose another")


def build_of_library(name: str, image_size: int, channels_last: bool) -> nn.Module:
    """Build an encoder of a library with torch's global generator, from random weights.

    Parameters
    ----------
    name : str
        ``torchvision/NAME``, of its classifiers (the last linear layer is taken off), or
        ``timm/NAME``, of any of its models.
    image_size : int
        The images' side in pixels, which transformers are made for; all else is as the library has
        it, whatever ``model.stem``.
    channels_last : bool
        See `LibraryEncoder`.

    Raises
    ------
    ValueError
        There is no such model, it takes no images of this size, or timm is not installed.
    """
    library, _, own = name.partition("/")
    try:
        check_name(name)
        network = (
            _torchvision(own, image_size)
            if library == "torchvision"
            else timm_network(own, image_size)[0]
        )
        features = _width(network.eval(), image_size)
    except ValueError as error:
        raise ValueError(f"model.encoder = {name}: {error}") from None
    return LibraryEncoder(network.train(), features, channels_last)


@torch.no_grad()
def _width(network: nn.Module, image_size: int) -> int:
    images = torch.zeros(1, 3, image_size, image_size)
    try:
        return cast(int, network(images).shape[1])
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"takes no images of {image_size} pixels a side; choose another encoder or data.size"
            + (f" ({error})" if str(error) else "")
        ) from None


def _torchvision(name: str, image_size: int) -> nn.Module:
    size = {"image_size": image_size} if name.startswith("vit_") else {}
    network = cast(nn.Module, torchvision.models.get_model(name, weights=None, **size))
    last = [n for n, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    parent, _, attribute = last.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
    return network


def timm_network(name: str, image_size: int) -> tuple[nn.Module, dict[str, int]]:
    """Build one of timm's models without its classifier, from random weights.

    Parameters
    ----------
    name : str
        Its name in timm.
    image_size : int
        The images' side in pixels.

    Returns
    -------
    tuple[nn.Module, dict[str, int]]
        The network, and what `timm.create_model` was told of the images: ``img_size`` where the
        model is made for one size.

    Raises
    ------
    ValueError
        There is no such model, or timm is not installed.
    """
    try:
        timm = importlib.import_module("timm")
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise ValueError("timm is not installed: pip install 'fedssl[timm]'") from None
    # Its names may also be addresses, from which it would fetch weights or code.
    if name.partition(".")[0] not in timm.list_models():
        raise ValueError(f"timm has no such model; {nearest(name, timm.list_models())}")
    make = timm.create_model
    size = {"img_size": image_size}
    try:
        return cast(nn.Module, make(name, pretrained=False, num_classes=0, **size)), size
    except TypeError:
        # Convolutions take images of any size, and no such argument.
        return cast(nn.Module, make(name, pretrained=False, num_classes=0)), {}
