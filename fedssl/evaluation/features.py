"""The frozen features of a set of images."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fedssl.encoders import device_of
from fedssl.evaluation.parallel import map_chunks

BATCH = 128
"""Images in a forward pass."""


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
    batch_size: int = BATCH,
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

    with _evaluating(encoder):
        return map_chunks(work, len(images), batch_size, device)


def extract_views(
    encoder: nn.Module,
    images: Tensor,
    view: Callable[[Tensor, torch.Generator], Tensor],
    draws: Callable[[int], torch.Generator],
) -> Tensor:
    """Return the features of one random view of each image; see `extract`.

    Parameters
    ----------
    encoder : nn.Module
        Maps views [B, C, H, W] to features [B, D].
    images : Tensor
        uint8 [N, C, H, W], N ≥ 1, on any device.
    view : Callable[[Tensor, torch.Generator], Tensor]
        Makes a normalised view of each of B images.
    draws : Callable[[int], torch.Generator]
        Makes the generator of a batch, from the place of its first image: each has its own, so
        that batches can be worked on side by side.

    Returns
    -------
    Tensor
        float32 [N, D] on the encoder's device.
    """
    device = device_of(encoder)

    @torch.no_grad()
    def work(rows: slice) -> Tensor:
        features: Tensor = encoder(view(images[rows].to(device), draws(rows.start)))
        return features.float()

    with _evaluating(encoder):
        return map_chunks(work, len(images), BATCH, device)


@contextmanager
def _evaluating(encoder: nn.Module) -> Iterator[None]:
    """Put the encoder into eval mode, and afterwards each of its modules back."""
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
