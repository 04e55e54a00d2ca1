"""Encoders: networks that map series [B, C, T] to features [B, ``features``]."""

from fedssl.encoders import encoders_of
from fedssl.modalities.series.convolution import Conv1dNet
from fedssl.modalities.series.patches import PatchEncoder

ENCODERS = encoders_of("series", Conv1dNet, PatchEncoder)
"""The encoders of series by name."""
