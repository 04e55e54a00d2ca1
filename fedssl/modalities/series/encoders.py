"""Encoders: networks that map series [B, C, T] to features [B, ``features``]."""

from collections.abc import Callable

from torch import nn

from fedssl.modalities.series.convolution import Conv1dNet
from fedssl.modalities.series.patches import PatchTransformer

ENCODERS: dict[str, tuple[str, Callable[[int], nn.Module]]] = {
    "conv1d": (
        "Four convolutions over time, 0.10 M parameters: for CPUs, and the usual choice.",
        Conv1dNet,
    ),
    "patch-transformer": (
        "0.45 M parameters, a transformer on patches of 8 steps, without BatchNorm: for mae.",
        PatchTransformer,
    ),
}
"""By name: when to use it, and how to build it for series of so many channels."""


def build_encoder(name: str, channels: int) -> nn.Module:
    """Build an encoder with torch's global generator (see `seeding.initialising`).

    Parameters
    ----------
    name : str
        A name of `ENCODERS`.
    channels : int
        C of the series.
    """
    return ENCODERS[name][1](channels)
