"""The frozen features of a set of images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fedssl.encoders import device_of
from fedssl.evaluation.parallel import map_chunks


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Turn uint8 images [B, C, H, W] into float32 ones: (image/255 − mean) / std by channel."""
    center = torch.tensor(mean, device=images.device)[:, None, None]
    spread = torch.tensor(std, device=images.device)[:, None, None]
    return (images.float() / 255 - center) / spread


def extract(
    encoder: nn.Module,
    images: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    batch_size: int = 128,
) -> Tensor:
    """Return the features of images that are not augmented.

    The encoder works in eval mode, without gradients, and is left as it was. The same bits come
    out whatever the number of cores, which take a batch each.

    Parameters
    ----------
    encoder : nn.Module
        Maps images [B, C, H, W] to features [B, D].
    images : Tensor
        uint8 [N, C, H, W], N ≥ 1, on any device.
    mean, std : Sequence[float]
        Each channel's constants for images in [0, 1].
    batch_size : int
        Images in a forward pass.

    Returns
    -------
    Tensor
        float32 [N, D] on the encoder's device.
    """
    device = device_of(encoder)

    # Gradients are switched off thread by thread, so inside of the work.
    @torch.no_grad()
    def work(rows: slice) -> Tensor:
        features: Tensor = encoder(normalise(images[rows].to(device), mean, std))
        return features.float()

    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    try:
        return map_chunks(work, len(images), batch_size, device)
    finally:
        for module, training in modes:
            module.training = training
