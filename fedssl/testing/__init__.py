"""Conformance kits: does a plug-in of your own keep to what fedssl asks of its kind?"""

import importlib
from typing import Any

from fedssl.testing.client_rule import check_client_rule
from fedssl.testing.dataset import check_dataset
from fedssl.testing.encoder import check_encoder
from fedssl.testing.measure import check_measure
from fedssl.testing.modality import check_modality
from fedssl.testing.objective import check_objective
from fedssl.testing.partition import check_partition
from fedssl.testing.term import check_term

__all__ = [
    "check_client_rule",
    "check_dataset",
    "check_encoder",
    "check_measure",
    "check_modality",
    "check_objective",
    "check_partition",
    "check_strategy",
    "check_term",
]


def __getattr__(name: str) -> Any:
    # Strategies are built on this package, which so must not import theirs before it is asked to.
    if name == "check_strategy":
        return importlib.import_module("strategies.testing").check_strategy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
