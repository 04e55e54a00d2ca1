"""Features of an encoder before it averages over the positions of an example."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fedssl.networks.encoder import device_of


class PrePool(nn.Module):
    """An encoder whose features are its last maps, flattened.

    Parameters
    ----------
    encoder : nn.Module
        Maps prepared examples [B, …] to features.
    last : nn.Module
        The module of it that returns the maps [B, C, h, w].
    """

    def __init__(self, encoder: nn.Module, last: nn.Module):
        super().__init__()
        self.encoder = encoder
        # By thread, since batches are worked on side by side.
        self._seen = threading.local()
        self.handle = last.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._seen.maps = output

    def forward(self, examples: Tensor) -> Tensor:
        """Return features [B, C · h · w]."""
        self.encoder(examples)
        maps: Tensor = self._seen.maps
        del self._seen.maps
        return maps.flatten(1)


@contextmanager
def before_pooling(encoder: nn.Module, examples: Tensor) -> Iterator[PrePool]:
    """Give an encoder's maps before its pooling as features: 8,192 of a ResNet-18 of 32×32.

    The maps are the last tensor [B, C, h, w] of more than one place that any module in it returns.

    Parameters
    ----------
    encoder : nn.Module
        Left as it is.
    examples : Tensor
        float32 [B, …], prepared, B ≥ 1: a few, to try.

    Raises
    ------
    ValueError
        It has no such maps, as transformers have none.
    """
    last: list[nn.Module] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            last.append(module)

    training = [(module, module.training) for module in encoder.modules()]
    handles = [module.register_forward_hook(note) for module in encoder.modules()]
    try:
        with torch.no_grad():
            encoder.eval()(examples.to(device_of(encoder)))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in training:
            module.training = mode
    if not last:
        raise ValueError("the encoder has no maps before its pooling: use the protocol linear")
    wrapped = PrePool(encoder, last[-1])
    try:
        yield wrapped
    finally:
        wrapped.handle.remove()
