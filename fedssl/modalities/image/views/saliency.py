"""Saliency: how much each pixel stands out from its image."""

import torch
from torch import Tensor

from fedssl.modalities.image.views.resample import blur_weights, resample

SMOOTHING = 1 / 32
"""The blur's standard deviation, as a share of the image's side."""


def saliency(images: Tensor) -> Tensor:
    """Return ‖blurred pixel − the image's mean colour‖², what stands out from its background.

    The blur takes away noise and fine texture. Where nothing stands out, all pixels do alike.

    Parameters
    ----------
    images : Tensor
        uint8 or float32 in [0, 1], [B, 3, H, W].

    Returns
    -------
    Tensor
        float32 [B, H, W], above 0.

    Source: Achanta et al., "Frequency-tuned Salient Region Detection", CVPR 2009, equation 4; in
    RGB in place of Lab, which would take longer than all else.
    """
    values = images.mul(1 / 255) if images.dtype == torch.uint8 else images
    rows, columns = (_blur(side, values.device) for side in images.shape[2:])
    count = len(images)
    blurred = resample(values, rows.expand(count, -1, -1), columns.expand(count, -1, -1))
    return (blurred - values.mean((2, 3), keepdim=True)).square_().sum(1).add_(1e-6)


def _blur(side: int, device: torch.device) -> Tensor:
    sigma = torch.tensor([SMOOTHING * side], device=device)
    return blur_weights(sigma, 2 * round(2 * SMOOTHING * side) + 1, side)
