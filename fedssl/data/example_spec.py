"""The specification of an example: its modality, shape and type."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import torch
from pydantic import AfterValidator, Field, PositiveInt
from torch import Tensor

LARGEST = 1 << 28
"""The largest number of values of one example that a file or message may claim."""


def _bounded(shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape) > LARGEST:
        raise ValueError(f"an example of {math.prod(shape):,} values is too large")
    return shape


Shape = Annotated[
    tuple[PositiveInt, ...], Field(min_length=1, max_length=8), AfterValidator(_bounded)
]


@dataclass(frozen=True)
class ExampleSpec:
    """The modality, shape and type of each example of a data set, or of each view of a batch.

    It is stored as JSON: in the metadata of ``model.safetensors``, and sent to devices.
    """

    modality: Annotated[str, Field(max_length=200)]
    """The name of its modality, or the dotted path of one of the user's own."""
    shape: Shape
    """The shape of one example: (C, H, W) for an image, (C, T) for a series."""
    dtype: Literal["uint8", "int16", "int32", "int64", "float32"]
    """The type of its values, as torch calls it."""

    @classmethod
    def of(cls, modality: str, shape: tuple[int, ...], dtype: torch.dtype) -> Self:
        """Return the spec of examples of a tensor's shape, without N, and type."""
        return cls(modality, tuple(shape), str(dtype).removeprefix("torch."))  # type: ignore[arg-type]

    def blank(self, count: int) -> Tensor:
        """Return ``count`` examples of zeros, to try an encoder on.

        Examples
        --------
        >>> ExampleSpec("image", (3, 32, 32), "uint8").blank(2).shape
        torch.Size([2, 3, 32, 32])
        """
        return torch.zeros(count, *self.shape, dtype=getattr(torch, self.dtype))
