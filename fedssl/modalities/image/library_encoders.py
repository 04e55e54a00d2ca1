"""Encoders of other libraries, by their names there: torchvision's, and timm's where installed."""

import importlib
from abc import ABC, abstractmethod
from typing import Annotated, cast

import torch
import torchvision
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from fedssl.base.fields import suggest_name
from fedssl.data.example_spec import ExampleSpec
from fedssl.networks.encoder import EncoderConfig

_UNFIT = {
    "googlenet": "has auxiliary classifiers",
    "inception_v3": "has auxiliary classifiers",
    "squeezenet1_0": "has no linear classifier to be taken off",
    "squeezenet1_1": "has no linear classifier to be taken off",
}


class LibraryEncoder(nn.Module, ABC):
    """A network of another library without its classifier, and without dropout of any kind.

    It has random weights, and the images' side where it is made for one size; all else is as the
    library has it. Dropout draws from torch's global generator, so that no run could be repeated.
    """

    class Config(EncoderConfig):
        """The ``model.encoder`` section of another library's network."""

        channels_last: bool = True
        """Images, and so all maps, in the layout channels last: usually faster."""

    def __init__(self, config: Config, spec: ExampleSpec):
        super().__init__()
        side = spec.shape[-1]
        try:
            network = self.make(config.name.partition("/")[2], side)
            self.features = _width(network.eval(), side)
        except ValueError as error:
            raise ValueError(f"model.encoder = {config.name}: {error}") from None
        self.network = network.train()
        self.layout = torch.channels_last if config.channels_last else torch.contiguous_format
        for module in network.modules():
            # Of Dropout and StochasticDepth; of timm's DropPath and DropBlock; of attention; of
            # timm's networks that call dropout as a function.
            for rate in ("p", "drop_prob", "dropout", "attention_dropout", "drop_rate"):
                if isinstance(getattr(module, rate, None), float):
                    setattr(module, rate, 0.0)

    @staticmethod
    @abstractmethod
    def make(name: str, side: int) -> nn.Module:
        """Make a network by its name in the library, for images of a side in pixels.

        Raises
        ------
        ValueError
            There is no such network, or the library is not installed.
        """

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, F] of images [B, 3, H, W]."""
        return cast(Tensor, self.network(images.contiguous(memory_format=self.layout)))


def _known(name: str) -> str:
    """Refuse what torchvision does not have; timm is asked when the network is built."""
    own, names = name.partition("/")[2], torchvision.models.list_models(module=torchvision.models)
    if own not in names:
        raise ValueError(f"torchvision has no such classifier; {suggest_name(own, names)}")
    if own in _UNFIT:
        raise ValueError(f"it {_UNFIT[own]}; choose another")
    return name


class Torchvision(LibraryEncoder):
    """A classifier of torchvision's, such as torchvision/resnet101."""

    class Config(LibraryEncoder.Config):
        """The ``model.encoder`` section of one of torchvision's classifiers."""

        name: Annotated[str, Field(pattern="^torchvision/"), AfterValidator(_known)]
        """Its name in torchvision, after torchvision/."""

    @staticmethod
    def make(name: str, side: int) -> nn.Module:
        """Make a classifier, and take off its last linear layer."""
        size = {"image_size": side} if name.startswith("vit_") else {}
        network = cast(nn.Module, torchvision.models.get_model(name, weights=None, **size))
        last = [n for n, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
        parent, _, attribute = last.rpartition(".")
        setattr(network.get_submodule(parent), attribute, nn.Identity())
        return network


class Timm(LibraryEncoder):
    """A model of timm's, which must be installed: pip install 'fedssl[timm]'."""

    class Config(LibraryEncoder.Config):
        """The ``model.encoder`` section of one of timm's models."""

        name: Annotated[str, Field(pattern="^timm/")]
        """Its name in timm, after timm/."""

    @staticmethod
    def make(name: str, side: int) -> nn.Module:
        """Make a model without its classifier."""
        return timm_network(name, side)[0]


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
        raise ValueError(f"timm has no such model; {suggest_name(name, timm.list_models())}")
    make = timm.create_model
    size = {"img_size": image_size}
    try:
        return cast(nn.Module, make(name, pretrained=False, num_classes=0, **size)), size
    except TypeError:
        # Convolutions take images of any size, and no such argument.
        return cast(nn.Module, make(name, pretrained=False, num_classes=0)), {}
