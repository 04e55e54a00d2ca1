"""What one example is: its modality, shape and type."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import torch
from pydantic import AfterValidator, Field, PositiveInt
from torch import Tensor

LARGEST = 1 << 28
"""The most values of one example: what a file or a message claims is not believed beyond it."""


def _bounded(shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape) > LARGEST:
        raise ValueError(f"an example of {math.prod(shape):,} values is too large")
    return shape


Shape = Annotated[
    tuple[PositiveInt, ...], Field(min_length=1, max_length=8), AfterValidator(_bounded)
]


@dataclass(frozen=True)
class ExampleSpec:
    """What every example of a data set, or every view of a batch, is.

    It travels as JSON: in the metadata of ``model.safetensors``, and to devices.
    """

    modality: Annotated[str, Field(max_length=200)]
    """The name of its modality, or the dotted path of one of the user's own."""
    shape: Shape
    """Of one example: an image's is (C, H, W), a series' (C, T)."""
    dtype: Literal["uint8", "int16", "int32", "int64", "float32"]
    """The type of its values, as torch calls it."""

    @classmethod
    def of(cls, modality: str, shape: tuple[int, ...], dtype: torch.dtype) -> Self:
        """Return the spec of examples of a tensor's shape, without N, and type."""
        return cls(modality, tuple(shape), str(dtype).removeprefix("torch."))  # type: ignore[arg-type]

    def blank(self, count: int) -> Tensor:
        """Return ``count`` examples that are all zeros: to try an encoder on."""
        return torch.zeros(count, *self.shape, dtype=getattr(torch, self.dtype))
