"""Images that stay where they are until somebody needs them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedssl.data.on_demand import Examples
from fedssl.modalities.image.data.files import USUAL, Decoding, decode_all, resize


@dataclass(frozen=True)
class Files:
    """Image files that are decoded when they are fetched."""

    paths: Sequence[str]
    """N of them."""
    size: int
    """The side in pixels that every image is resized to."""
    decoding: Decoding = USUAL
    """How the files become images."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, 3, size, size."""
        return len(self.paths), 3, self.size, self.size

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Decode some of the files."""
        return decode_all([self.paths[row] for row in rows.tolist()], self.size, self.decoding)


@dataclass(frozen=True)
class Fitted:
    """Some of a source's images, each checked and made what `load` promises once it is fetched."""

    source: Examples
    """With images uint8 [*, 1 or 3, H, W]."""
    rows: Tensor | None
    """int64 [N]: the source's rows that are used; None for all."""
    size: int | None
    """The side in pixels that images are resized to; None keeps theirs."""
    where: str
    """What errors call the images."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, 3, H and W after resizing."""
        number, _, height, width = self.source.shape
        if self.rows is not None:
            number = len(self.rows)
        return number, 3, self.size or height, self.size or width

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Fetch and fit.

        Raises
        ------
        ValueError
            The source gave something else than it should.
        """
        if not len(rows):
            return torch.empty(0, *self.shape[1:], dtype=torch.uint8)
        images = self.source[rows if self.rows is None else self.rows[rows]]
        expected = [len(rows), *self.source.shape[1:]]
        if images.dtype != torch.uint8 or list(images.shape) != expected:
            raise ValueError(
                f"{self.where} gave images {images.dtype} {list(images.shape)} for {len(rows)} "
                f"rows: they must be torch.uint8 {expected}"
            )
        return fit(images, self.size)


def fit(images: Tensor, size: int | None) -> Tensor:
    """Resize images uint8 [N, 1 or 3, H, W] unless ``size`` is None, and make 3 channels of one."""
    if size is not None:
        images = resize(images, size)
    return images.expand(-1, 3, -1, -1).contiguous()
