"""Crop, flip and blur: as products with one small matrix per image and axis, or by neighbours.

The cost of a matrix product per pixel grows with the image's side, that of looking neighbours up
does not. Both cost the same for a crop of about 32 pixels.
"""

import torch
from torch import Tensor

PRODUCTS = 32
"""The longest side, in pixels, of images that are cropped by matrix products. On a CPU neighbours
are as fast at 32 pixels, 1.3 times as fast at 64, 1.8 times at 96 and 3.5 times at 224."""


def crop(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return what each image shows, bilinearly, where rows and columns cross.

    Parameters
    ----------
    images : Tensor
        uint8, or float32 in [0, 1], [B, C, H, W].
    rows : Tensor
        float32 [B, H']: places on the vertical axis, in pixels, in [0, H - 1].
    columns : Tensor
        float32 [B, W']: places on the horizontal axis.

    Returns
    -------
    Tensor
        float32 [B, C, H', W'] in [0, 1].
    """
    size = (images.shape[2], images.shape[3])
    by = crop_by_products if max(size) <= PRODUCTS else crop_by_neighbours
    return by(images, rows, columns)


def crop_by_products(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Do the work of `crop` with matrices."""
    height, width = images.shape[2:]
    # The change from 0–255 to 0–1 goes into the weights: a pass less over the images.
    across = bilinear_weights(columns, width).mul_(_unit(images))
    return resample(images.float(), bilinear_weights(rows, height), across)


def crop_by_neighbours(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Do the work of `crop` by looking at the four neighbours of each place."""
    # Where they are as grid_sample counts: from -1 to 1 over the image with its outer pixels.
    down, across = (
        (2 * p + 1) / n - 1 for p, n in zip((rows, columns), images.shape[2:], strict=True)
    )
    shape = (len(images), rows.shape[1], columns.shape[1])
    places = torch.stack([across[:, None, :].expand(shape), down[:, :, None].expand(shape)], dim=-1)
    return torch.nn.functional.grid_sample(
        images.mul(_unit(images)), places, padding_mode="border", align_corners=False
    )


def shrink(images: Tensor, boxes: Tensor, size: tuple[int, int], mirror: Tensor | None) -> Tensor:
    """Return what boxes show, bilinearly, where views are smaller than images.

    A box larger than the view is shrunk without aliases: each pixel is the mean of those around
    it, weighted by a triangle as wide as it must be.

    Parameters
    ----------
    images : Tensor
        uint8, or float32 in [0, 1], [B, C, H, W].
    boxes : Tensor
        float32 [B, 4]: tops, lefts, heights, widths, in whole pixels.
    size : tuple[int, int]
        The views' height H' and width W'.
    mirror : Tensor | None
        bool [B]: which of them are flipped.

    Returns
    -------
    Tensor
        float32 [B, C, H', W'] in [0, 1].
    """
    height, width = images.shape[2:]
    top, left, high, wide = boxes.unbind(1)
    rows = triangle_weights(top, high, height, size[0])
    columns = triangle_weights(left, wide, width, size[1]).mul_(_unit(images))
    if mirror is not None:
        columns = torch.where(mirror[:, None, None], columns.flip(1), columns)
    return resample(images.float(), rows, columns)


def _unit(images: Tensor) -> float:
    """Return what takes an image's values to [0, 1]."""
    return 1.0 if images.is_floating_point() else 1 / 255


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


def crop_places(start: Tensor, length: Tensor, size: int, mirror: Tensor | None = None) -> Tensor:
    """Return the places [B, size] along one axis that stretch a crop over the whole of it.

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
    return places if mirror is None else torch.where(mirror[:, None], places.flip(1), places)


def bilinear_weights(places: Tensor, size: int) -> Tensor:
    """Return the weight [B, P, size] of each pixel of an axis at each of P places on it [B, P]."""
    pixels = torch.arange(size, device=places.device, dtype=places.dtype)
    distances = (places[:, :, None] - pixels).abs_()
    return distances.neg_().add_(1).clamp_(min=0)


def triangle_weights(start: Tensor, length: Tensor, size: int, places: int) -> Tensor:
    """Return the weight [B, places, size] of each pixel of an axis at each place of a crop of it.

    As in ``interpolate(..., antialias=True)`` of the cropped image.

    Parameters
    ----------
    start, length : Tensor
        float32 [B]: the crop, in pixels.
    size, places : int
        How many pixels the axis has in the image, and in the view.
    """
    start, length = start[:, None, None], length[:, None, None]
    pixels = torch.arange(size, device=start.device, dtype=start.dtype)
    steps = torch.arange(places, device=start.device, dtype=start.dtype)[:, None]
    stretch = length / places
    distances = (start + (steps + 0.5) * stretch - 0.5 - pixels).abs_()
    weights = distances.div_(stretch.clamp(min=1)).neg_().add_(1).clamp_(min=0)
    weights *= (pixels >= start) & (pixels < start + length)
    return weights.div_(weights.sum(2, keepdim=True))


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
