"""What is asked of every encoder, whatever its examples are."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from fedssl.dotted import load_dotted


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


def own_encoder(path: str) -> nn.Module:
    """Build an encoder of a person's own with torch's global generator.

    Parameters
    ----------
    path : str
        The dotted path of a callable without arguments that returns a module with an attribute
        ``features``.

    Raises
    ------
    ValueError
        It leads nowhere, or to a module without ``features``.
    """
    made = cast(Callable[[], object], load_dotted(path))()
    if not isinstance(made, nn.Module) or not isinstance(getattr(made, "features", None), int):
        raise ValueError(
            f"model.encoder = {path}: must return a torch module with an int attribute `features`, "
            "the width of its output"
        )
    return made


def count_parameters(module: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's first parameter."""
    return next(module.parameters()).device
