"""Crop, flip and blur as products with one small matrix per image and axis.

For images of 32 pixels two batched matrix products are several times faster on a CPU than
gathering neighbours; their cost per pixel grows with the image's side.
"""

import torch
from torch import Tensor


def resample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Resample each image along both axes: ``rows · image · columnsᵀ`` for each channel.

    Parameters
    ----------
    images : Tensor
        float32 [B, C, H, W].
    rows : Tensor
        float32 [B, H', H]: the weight of each input row in each output row.
    columns : Tensor
        float32 [B, W', W].

    Returns
    -------
    Tensor
        float32 [B, C, H', W'].
    """
    count, channels, height, width = images.shape
    lines = images.reshape(count, channels * height, width)
    wide = torch.bmm(lines, columns.transpose(1, 2))
    return rows.unsqueeze(1) @ wide.view(count, channels, height, -1)


def crop_weights(start: Tensor, length: Tensor, size: int, mirror: Tensor | None = None) -> Tensor:
    """Return the bilinear weights [B, size, size] that stretch a crop over one whole axis.

    Pixel centres are aligned as in ``interpolate(..., align_corners=False)`` of the cropped
    image: neighbours outside of the crop are not looked at. A crop is never larger than the image,
    so nothing is ever shrunk and there is nothing to antialias.

    Parameters
    ----------
    start, length : Tensor
        float32 [B]: the crop, in pixels.
    size : int
        The axis' number of pixels, of image and view alike.
    mirror : Tensor | None
        bool [B]: which of them are flipped.
    """
    start, length = start[:, None], length[:, None]
    pixels = torch.arange(size, device=start.device, dtype=start.dtype)
    places = start + (pixels + 0.5) * (length / size) - 0.5
    places = places.maximum(start).minimum(start + length - 1)
    if mirror is not None:
        places = torch.where(mirror[:, None], places.flip(1), places)
    distances = (places[:, :, None] - pixels).abs_()
    return distances.neg_().add_(1).clamp_(min=0)


def blur_weights(sigma: Tensor, kernel_size: int, size: int) -> Tensor:
    """Return the weights [B, size, size] of a Gaussian blur along one axis, reflecting at the ends.

    Parameters
    ----------
    sigma : Tensor
        float32 [B]: standard deviations in pixels.
    kernel_size : int
        The kernel's pixels, odd, less than ``2 * size``.
    size : int
        The axis' number of pixels.
    """
    radius = kernel_size // 2
    offsets = torch.arange(-radius, radius + 1, device=sigma.device)
    kernels = (-0.5 * (offsets / sigma[:, None]).square()).softmax(1)
    pixels = torch.arange(size, device=sigma.device)
    neighbours = (offsets[:, None] + pixels).abs()
    neighbours = (size - 1) - ((size - 1) - neighbours).abs()
    taps = torch.nn.functional.one_hot(neighbours, size).to(kernels.dtype)
    return (kernels @ taps.flatten(1)).view(-1, size, size)


def blur_kernel_size(size: tuple[int, int]) -> int:
    """Return a tenth of the image's shorter side, made odd, at least 3."""
    return max(3, min(size) // 10 // 2 * 2 + 1)
