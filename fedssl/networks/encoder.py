"""What is asked of every encoder, whatever its examples are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from fedssl.base.fields import Dotted, Fields
from fedssl.base.import_path import load_dotted
from fedssl.base.registry import Registry
from fedssl.data.example_spec import ExampleSpec


class EncoderConfig(Fields):
    """The ``model.encoder`` section."""

    name: str
    """The network to train: a name that `fedssl list` prints, or a dotted path."""


class CustomEncoderConfig(EncoderConfig):
    """An encoder of your own, by its dotted path; further fields are those of its ``Config``."""

    model_config = ConfigDict(extra="allow")

    name: Dotted
    """The dotted path."""


class MaskableEncoder(nn.Module, ABC):
    """An encoder that can be shown some patches of its examples alone: what `mae` needs."""

    features: int
    """The width of its features."""
    patch_values: int
    """P: how many numbers a patch holds."""

    @abstractmethod
    def patches(self, examples: Tensor) -> Tensor:
        """Cut prepared examples [B, …] into patches [B, T, P]; NaN is a value that is not there.

        Raises
        ------
        ValueError
            The examples are smaller than a patch.
        """

    def there(self, examples: Tensor) -> Tensor | None:
        """Tell which patches of examples [B, …] have a value at all, bool [B, T]; None for all.

        Where it is a tensor, patches may hold NaN, and no attention looks at those not there.
        """
        return None

    @abstractmethod
    def tokens(self, examples: Tensor, shown: Tensor | None = None) -> Tensor:
        """Return the last block's tokens, normalised.

        Parameters
        ----------
        examples : Tensor
            float32 [B, …], prepared.
        shown : Tensor | None
            int64 [B, S]: the patches of each example that are shown; None for all T.

        Returns
        -------
        Tensor
            [B, S, D], or [B, T, D].
        """

    @abstractmethod
    def places(self, examples: Tensor, width: int) -> Tensor:
        """Return encodings [T, width] of the places of the examples' patches."""


def encoders_of(
    modality: str,
    *own: type[nn.Module],
    families: Mapping[str, type[nn.Module]] = MappingProxyType({}),
) -> Registry[nn.Module]:
    """Return the registry of a modality's encoders, whose entry points are named after it.

    Parameters
    ----------
    modality : str
        Its name: that of images has the entry points fedssl.image_encoders.
    *own, families
        See `Registry`. Each class is made from its config and the spec of stored examples.
    """
    return Registry(
        "encoder",
        f"fedssl.{modality}_encoders",
        nn.Module,
        *own,
        custom=CustomEncoderConfig,
        families=families,
    )


def build(encoders: Registry[nn.Module], section: EncoderConfig, spec: ExampleSpec) -> nn.Module:
    """Build an encoder with torch's global generator (see `seeding.initialising`).

    Parameters
    ----------
    encoders : Registry[nn.Module]
        Those of the examples' modality; see `encoders_of`.
    section : EncoderConfig
        The ``model.encoder`` section. A dotted path leads to a module's class with a ``Config``,
        or to a callable without arguments.
    spec : ExampleSpec
        What the stored examples are.

    Returns
    -------
    nn.Module
        Maps prepared examples [B, …] to features [B, ``features``].

    Raises
    ------
    ValueError
        There is no such encoder, a field is wrong, or what is made has no ``features``.
    """
    name = section.name
    if name in encoders or _is_plugin(found := load_dotted(name)):
        encoder, config = encoders.settle(section, "model.encoder")
        made: object = encoder(config, spec)
    elif fields := list(section.model_extra or {}):
        raise ValueError(
            f"model.encoder.{fields[0]}: {name} has no fields, since it is no class with a Config"
        )
    else:
        made = cast(Callable[[], object], found)()
    if not isinstance(made, nn.Module) or not isinstance(getattr(made, "features", None), int):
        raise ValueError(
            f"model.encoder = {name}: must return a torch module with an int attribute `features`, "
            "the width of its output"
        )
    return made


def _is_plugin(found: object) -> bool:
    """Tell whether this is a class that is made from its config and a spec."""
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        return False
    config = getattr(found, "Config", None)
    return isinstance(config, type) and issubclass(config, Fields)


def count_parameters(module: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's first parameter."""
    return next(module.parameters()).device
