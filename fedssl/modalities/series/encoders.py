"""Encoders: networks that map series [B, C, T] to features [B, ``features``]."""

from fedssl.modalities.series.convolution import Conv1dNet
from fedssl.modalities.series.patches import PatchEncoder
from fedssl.networks.encoder import encoder_registry

ENCODERS = encoder_registry("series", Conv1dNet, PatchEncoder)
"""The encoders of series by name."""
