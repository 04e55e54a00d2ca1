"""Normalise images by each channel's mean and spread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fedssl.data.example_spec import ExampleSpec


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Turn uint8 images [B, C, H, W] into float32 ones: (image/255 − mean) / std by channel."""
    center = torch.tensor(mean, device=images.device)[:, None, None]
    spread = torch.tensor(std, device=images.device)[:, None, None]
    return (images.float() / 255 - center) / spread


@dataclass(frozen=True)
class Normalisation:
    """How stored images are prepared: see `normalise`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Constants of images in [0, 1], one for each channel or one for all."""

    @property
    def constants(self) -> Mapping[str, tuple[float, ...]]:
        """Mean and spread, for the metadata of a model's file."""
        return {"mean": self.mean, "std": self.std}

    def spec_of(self, spec: ExampleSpec) -> ExampleSpec:
        """Return what prepared images are: float32."""
        return replace(spec, dtype="float32")

    def __call__(self, images: Tensor) -> Tensor:
        """Return uint8 images [B, C, H, W] normalised, float32."""
        return normalise(images, self.mean, self.std)
