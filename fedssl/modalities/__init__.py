"""The modalities: what an example may be. One folder each, found by name in `MODALITIES`."""

from fedssl.modalities.base import (
    DeviceExamples,
    Modality,
    Preparation,
    ViewPolicy,
)
from fedssl.modalities.loading import load
from fedssl.modalities.model_config import ModelConfig
from fedssl.modalities.registry import MODALITIES, modality_of, noun_of, spec_of
from fedssl.modalities.sections import DATA_SETS, MODEL, VIEWS
from fedssl.views.policy import NamedPolicy

__all__ = [
    "DATA_SETS",
    "MODALITIES",
    "MODEL",
    "VIEWS",
    "DeviceExamples",
    "Modality",
    "ModelConfig",
    "NamedPolicy",
    "Preparation",
    "ViewPolicy",
    "load",
    "modality_of",
    "noun_of",
    "spec_of",
]
