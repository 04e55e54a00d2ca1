"""Numpy archives."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedssl.base.fields import File
from fedssl.data.archive import Archive
from fedssl.data.arrays import Arrays, class_names, read_archives
from fedssl.data.dataset import Dataset, Splits
from fedssl.modalities.image.data.config import ImageData


class Npz(ImageData):
    """When the images are numpy arrays: an .npz file for training and one for testing.

    Each holds ``images`` (uint8 [N, H, W, C] or [N, H, W]) and may hold ``labels`` (integers [N] or
    [N, 1], -1 for none; or names, empty for none), ``class_names`` (strings [C]) and further
    columns of integers or strings [N], such as ``writer``, which a natural partition may split by.
    One file may hold both, as MedMNIST's do: ``train_images``, ``train_labels``, ``test_images``…
    """

    name: Literal["npz"] = "npz"
    """This data set."""
    train: File
    """The .npz file of the training images."""
    test: File | None = None
    """The .npz file of the test images; null takes ``test_images`` of ``train``, where it has them,
    and else holds out a fifth of each class."""

    def read(self) -> Splits:
        """Read both files."""
        return read_archives(_Images, self.train, self.test)


def read_npz(what: str, path: Path) -> Dataset:
    """Read one file; ``what`` is what errors call it.

    Raises
    ------
    ValueError
        It is missing, or not what `Npz` says.
    """
    arrays = _Images(what, path, "train")
    return arrays.dataset(class_names(arrays))


class _Images(Arrays):
    """One split of a file."""

    keys = ("images",)
    noun = "images"

    def check(self, archive: Archive, key: str) -> int:
        """Return how many images there are, uint8 with 1 or 3 channels."""
        shape, dtype = archive.members[key]
        if dtype != np.uint8:
            raise self.wrong(f"`{key}` is {dtype}: store uint8, 0 to 255")
        last = (*shape, 1)[3] if len(shape) in (3, 4) else 0
        if last not in (1, 3) or 0 in shape:
            raise self.wrong(
                f"`{key}` has the shape {list(shape)}: it must be [N, H, W, 3], [N, H, W, 1] or "
                "[N, H, W]"
            )
        return shape[0]

    def read(self, archive: Archive, key: str) -> Tensor:
        """Return the images, uint8 [N, 1 or 3, H, W]."""
        images = archive.read(key)
        if images.ndim == 3:
            images = images[..., None]
        return torch.from_numpy(images).permute(0, 3, 1, 2)
