"""Decode image files."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

# Scanners and cameras write 16-bit greys, which PIL would clip to white without a word.
_DEEP_MODES = ("I", "F")


def resize(images: Tensor, size: int) -> Tensor:
    """Resize to ``size`` × ``size``, bilinear and antialiased, whatever the aspect ratio.

    Parameters
    ----------
    images : Tensor
        uint8 [N, C, H, W].
    size : int
        In pixels.
    """
    if images.shape[2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True)


def decode(path: str) -> Tensor:
    """Decode one file to red, green and blue, uint8 [3, H, W]."""
    try:
        with Image.open(path) as image:
            deep = image.mode.startswith(_DEEP_MODES)
            pixels = None if deep else np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} cannot be read as an image ({error}): mend or remove it"
        ) from None
    if pixels is None:
        raise ValueError(f"{path} has more than 8 bits per channel: save it with 8")
    return torch.from_numpy(pixels).permute(2, 0, 1)


def decode_all(paths: Sequence[str], size: int | None) -> Tensor:
    """Decode files once each, to uint8 [N, 3, size, size] (their own size where None).

    Raises
    ------
    ValueError
        A file cannot be read, or ``size`` is None and the images differ in size.
    """
    images: Tensor | None = None
    with ThreadPoolExecutor() as pool:
        for place, image in enumerate(pool.map(decode, paths)):
            if size is not None:
                image = resize(image[None], size)[0]
            if images is None:
                images = torch.empty(len(paths), *image.shape, dtype=torch.uint8)
            if image.shape != images.shape[1:]:
                sides = [f"{s[2]}×{s[1]}" for s in (images[0].shape, image.shape)]
                raise ValueError(
                    f"data.size is needed, since the images differ in size: {paths[0]} is "
                    f"{sides[0]}, {paths[place]} {sides[1]}"
                )
            images[place] = image
    assert images is not None
    return images
