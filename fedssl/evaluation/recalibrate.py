"""BatchNorm statistics measured anew."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fedssl.encoders import device_of
from fedssl.evaluation.features import normalise
from fedssl.evaluation.parallel import one_thread


@torch.no_grad()
def recalibrated(
    encoder: nn.Module,
    images: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    batch_size: int = 256,
) -> nn.Module:
    """Return a copy of the encoder whose BatchNorm statistics were measured on the images.

    They are the plain mean of the batches' means and variances; a smaller last batch is left out
    unless it is the only one. Merged models need it where a strategy changes the weights but not
    the statistics to go with them.

    Parameters
    ----------
    encoder : nn.Module
        Left as it is.
    images : Tensor
        uint8 [N, C, H, W], N ≥ 2; no labels are needed, nothing is augmented.
    mean, std : Sequence[float]
        Each channel's constants for images in [0, 1].
    batch_size : int
        Images in a forward pass.
    """
    measured = copy.deepcopy(encoder).eval()
    for module in measured.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    device = device_of(measured)
    with one_thread():
        for batch in torch.split(images, batch_size):
            if len(batch) == batch_size or len(images) < batch_size:
                measured(normalise(batch.to(device), mean, std))
    return measured.eval()
