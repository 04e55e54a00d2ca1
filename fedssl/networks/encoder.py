"""The contract of encoders, their registries, and how to build one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from fedssl.base.fields import DottedPath, Fields
from fedssl.base.import_path import load_dotted
from fedssl.base.registry import Registry
from fedssl.data.example_spec import ExampleSpec


class EncoderConfig(Fields):
    """The ``model.encoder`` section."""

    name: str
    """The encoder to train: a name that `fedssl list` prints, or a dotted path."""


class CustomEncoderConfig(EncoderConfig):
    """The section of your own encoder, with a dotted path; its ``Config`` has more fields."""

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """The dotted path of the encoder's class or function."""


class MaskableEncoder(nn.Module, ABC):
    """An encoder that can process some patches of each example alone, as `mae` needs."""

    features: int
    """The width of its features."""
    values_per_patch: int
    """P: the number of values in a patch."""

    @abstractmethod
    def patches(self, examples: Tensor) -> Tensor:
        """Cut prepared examples [B, …] into patches [B, T, P], where NaN is a missing value.

        Raises
        ------
        ValueError
            An example is smaller than a patch.
        """

    def observed_patches(self, examples: Tensor) -> Tensor | None:
        """Return which patches of examples [B, …] have any value, bool [B, T]; None if all have.

        If it is a tensor, patches may hold NaN, and the encoder's attention ignores the others.
        """
        return None

    @abstractmethod
    def tokens(self, examples: Tensor, shown: Tensor | None = None) -> Tensor:
        """Return the normalised tokens of the last block.

        Parameters
        ----------
        examples : Tensor
            Prepared examples, float32 [B, …].
        shown : Tensor | None
            The indices of the patches to process, int64 [B, S]; None for all T.

        Returns
        -------
        Tensor
            [B, S, D], or [B, T, D].
        """

    @abstractmethod
    def position_encodings(self, examples: Tensor, width: int) -> Tensor:
        """Return encodings [T, width] of the positions of the examples' patches."""


def encoder_registry(
    modality: str,
    *builtin: type[nn.Module],
    families: Mapping[str, type[nn.Module]] = MappingProxyType({}),
) -> Registry[nn.Module]:
    """Return the registry of a modality's encoders.

    Parameters
    ----------
    modality : str
        The modality's name, such as "image", whose entry points are "fedssl.image_encoders".
    *builtin, families
        See `Registry`. Each class is built from its config and the spec of stored examples.

    Examples
    --------
    >>> encoder_registry("point").group
    'fedssl.point_encoders'
    """
    return Registry(
        "encoder",
        f"fedssl.{modality}_encoders",
        nn.Module,
        *builtin,
        custom=CustomEncoderConfig,
        families=families,
    )


def build_from_section(
    encoders: Registry[nn.Module], section: EncoderConfig, spec: ExampleSpec
) -> nn.Module:
    """Build an encoder, whose weights come from torch's global generator.

    Parameters
    ----------
    encoders : Registry[nn.Module]
        The encoders of the examples' modality; see `encoder_registry`.
    section : EncoderConfig
        The ``model.encoder`` section. A dotted path names a module's class with a ``Config``, or a
        function without parameters.
    spec : ExampleSpec
        The shape and type of stored examples.

    Returns
    -------
    nn.Module
        The encoder, which maps prepared examples [B, …] to features [B, ``features``].

    Raises
    ------
    ValueError
        The encoder does not exist, a field is not valid, or the network has no ``features``.
    """
    name = section.name
    if name in encoders or _is_plugin(imported := load_dotted(name)):
        encoder_class, config = encoders.resolve(section, "model.encoder")
        encoder: object = encoder_class(config, spec)
    elif fields := list(section.model_extra or {}):
        raise ValueError(
            f"model.encoder.{fields[0]}: {name} has no fields, since it is no class with a Config"
        )
    else:
        encoder = cast(Callable[[], object], imported)()
    features = getattr(encoder, "features", None)
    if not isinstance(encoder, nn.Module) or not isinstance(features, int):
        raise ValueError(
            f"model.encoder = {name}: must return a torch module with an int attribute `features`, "
            "the width of its output"
        )
    return encoder


def _is_plugin(imported: object) -> bool:
    """Return whether an object is a class that is built from its config and a spec."""
    if not isinstance(imported, type) or not issubclass(imported, nn.Module):
        return False
    config = getattr(imported, "Config", None)
    return isinstance(config, type) and issubclass(config, Fields)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable values of a module.

    Examples
    --------
    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's first parameter."""
    return next(module.parameters()).device
