"""The frozen features of a set of examples."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fedssl.evaluation.parallel import map_chunks
from fedssl.modalities import Preparation
from fedssl.networks.encoder import device_of

BATCH = 128
"""Examples in a forward pass."""


def extract(
    encoder: nn.Module,
    examples: Tensor,
    preparation: Preparation,
    batch_size: int = BATCH,
) -> Tensor:
    """Return the features of examples that are not augmented.

    The encoder works in eval mode, without gradients, and is left as it was. The same bits come
    out whatever the number of cores, which take a batch each.

    Parameters
    ----------
    encoder : nn.Module
        Maps prepared examples [B, …] to features [B, D].
    examples : Tensor
        [N, …] as stored, N ≥ 1, on any device.
    preparation : Preparation
        Turns them into what the encoder takes.
    batch_size : int
        Examples in a forward pass.

    Returns
    -------
    Tensor
        float32 [N, D] on the encoder's device.
    """
    device = device_of(encoder)

    # Gradients are switched off thread by thread, so inside of the work.
    @torch.no_grad()
    def work(rows: slice) -> Tensor:
        features: Tensor = encoder(preparation(examples[rows].to(device)))
        return features.float()

    with _evaluating(encoder):
        return map_chunks(work, len(examples), batch_size, device)


def extract_views(
    encoder: nn.Module,
    examples: Tensor,
    view: Callable[[Tensor, torch.Generator], Tensor],
    generator_at: Callable[[int], torch.Generator],
) -> Tensor:
    """Return the features of one random view of each example; see `extract`.

    Parameters
    ----------
    encoder : nn.Module
        Maps views [B, …] to features [B, D].
    examples : Tensor
        [N, …] as stored, N ≥ 1, on any device.
    view : Callable[[Tensor, torch.Generator], Tensor]
        Makes a view of each of B examples.
    generator_at : Callable[[int], torch.Generator]
        Makes the generator of a batch, from the place of its first example: each has its own, so
        that batches can be worked on side by side.

    Returns
    -------
    Tensor
        float32 [N, D] on the encoder's device.
    """
    device = device_of(encoder)

    @torch.no_grad()
    def work(rows: slice) -> Tensor:
        features: Tensor = encoder(view(examples[rows].to(device), generator_at(rows.start)))
        return features.float()

    with _evaluating(encoder):
        return map_chunks(work, len(examples), BATCH, device)


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
