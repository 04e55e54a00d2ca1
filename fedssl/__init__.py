"""Federated self-supervised learning: the learning itself, with no Flower in it."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedssl.models.model_file import load_encoder

__all__ = ["load_encoder"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: processes that need no PyTorch start without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("fedssl.models.model_file"), name)
