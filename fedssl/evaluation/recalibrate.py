"""BatchNorm statistics measured anew."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fedssl.encoders import device_of
from fedssl.evaluation.parallel import one_thread
from fedssl.modalities import Preparation


@torch.no_grad()
def recalibrated(
    encoder: nn.Module,
    examples: Tensor,
    preparation: Preparation,
    batch_size: int = 256,
) -> nn.Module:
    """Return a copy of the encoder whose BatchNorm statistics were measured on the examples.

    They are the plain mean of the batches' means and variances; a smaller last batch is left out
    unless it is the only one. Merged models need it where a strategy changes the weights but not
    the statistics to go with them.

    Parameters
    ----------
    encoder : nn.Module
        Left as it is.
    examples : Tensor
        [N, …] as stored, N ≥ 2; no labels are needed, nothing is augmented.
    preparation : Preparation
        Turns them into what the encoder takes.
    batch_size : int
        Examples in a forward pass.
    """
    measured = copy.deepcopy(encoder).eval()
    for module in measured.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    device = device_of(measured)
    with one_thread():
        for batch in torch.split(examples, batch_size):
            if len(batch) == batch_size or len(examples) < batch_size:
                measured(preparation(batch.to(device)))
    return measured.eval()
