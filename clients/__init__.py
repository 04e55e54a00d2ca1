"""The client side: a Flower ClientApp that runs local updates, and `fedssl join` on devices."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clients.client_app import make_client_app
    from clients.runtime import ClientRuntime

__all__ = ["ClientRuntime", "make_client_app"]

_HOMES = {"ClientRuntime": "clients.runtime", "make_client_app": "clients.client_app"}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: processes that need no PyTorch start without."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
