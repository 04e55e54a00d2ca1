"""Standardise series channel by channel."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedssl.data.example_spec import ExampleSpec


@dataclass(frozen=True)
class Standardisation:
    """How stored series are prepared: (series − mean) / std by channel; NaN stays NaN."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Constants, one for each channel or one for all."""

    @property
    def constants(self) -> Mapping[str, tuple[float, ...]]:
        """Mean and spread, for the metadata of a model's file."""
        return {"mean": self.mean, "std": self.std}

    def spec_of(self, spec: ExampleSpec) -> ExampleSpec:
        """Return what prepared series are: what stored ones are."""
        return spec

    def __call__(self, series: Tensor) -> Tensor:
        """Return series float32 [B, C, T] standardised."""
        mean, std = (torch.tensor(c, device=series.device)[:, None] for c in (self.mean, self.std))
        return (series - mean) / std
