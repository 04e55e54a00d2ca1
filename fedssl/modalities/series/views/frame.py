"""Frame projections: a series' coefficients in another basis, in the place of augmentation."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fedssl.modalities.series.absence import lengths
from fedssl.views.recipe import Change

WINDOW = 32
"""The steps of a Gabor frame's window."""
HOP = 8
"""The steps from one window to the next: with complex coefficients, a redundancy of about 4."""


class Frame(Change):
    """Show the series in another basis or frame: the same content, so nothing is lost or made up.

    fourier: its coefficients in the real Fourier basis, which is orthonormal, [C, T]: first the
    mean, then of each frequency the cosine's and the sine's. gabor: the moduli of its coefficients
    in a Gabor frame, which is overcomplete, [C, ⌈T/8⌉·17]: of a Gaussian window of 32 steps around
    every eighth, all 17 frequencies, window by window. What is not there is 0, the mean; the basis
    is that of the series' own length, and what is beyond it stays not there.

    The paper contrasts a series with its Fourier coefficients and with the moduli of its
    coefficients in a complex overcomplete frame (in the authors' code Morlet wavelets at 48 scales,
    seen as an image), each pair of the three by an encoder and a projector of its own, without any
    augmentation; two small networks learn to map a series' embedding to the two others, and what
    they give is put beside it at inference. Here are the views alone: one encoder and projector for
    all of them, so that any objective, strategy and probe takes them, a frame of one resolution,
    and at inference the features of the series by themselves. So nothing here says what the paper's
    method would reach.

    Source: Demirel and Holz, "Learning Without Augmenting: Unsupervised Time Series Representation
    Learning via Frame Projections", NeurIPS 2025.
    """

    name: Literal["frame"] = "frame"
    """The series' coefficients in another basis."""
    basis: Literal["fourier", "gabor"] = "fourier"
    """fourier: orthonormal; gabor: overcomplete, windows in time."""

    draws: ClassVar[int] = 0

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the coefficients."""
        if self.basis == "fourier":
            return shape
        return shape[0], -(-shape[1] // HOP) * (WINDOW // 2 + 1)

    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        """Return the coefficients."""
        whole = lengths(examples)
        values = examples.nan_to_num(0.0)
        if self.basis == "gabor":
            made = _gabor(values, whole)
        else:
            made = torch.full_like(examples, torch.nan)
            for length in torch.unique(whole).tolist():
                if length:
                    rows = whole == length
                    made[rows, :, :length] = fourier(values[rows, :, :length])
        # A channel that is not there has no coefficients either.
        return made.masked_fill_(examples.isnan().all(2, keepdim=True), torch.nan)


def fourier(series: Tensor) -> Tensor:
    """Return the coefficients [.., T] of series [.., T] in the real orthonormal Fourier basis.

    √(1/T), then √(2/T)·cos(2πkt/T) and −√(2/T)·sin(2πkt/T) for k from 1 on, and where T is even at
    last √(1/T)·(−1)^t.
    """
    length = series.shape[-1]
    spectrum = torch.fft.rfft(series, norm="ortho")
    pairs = torch.view_as_real(spectrum[..., 1 : (length + 1) // 2]).flatten(-2)
    parts = [spectrum[..., :1].real, math.sqrt(2) * pairs]
    if length % 2 == 0:
        parts.append(spectrum[..., -1:].real)
    return torch.cat(parts, -1)


def _gabor(values: Tensor, whole: Tensor) -> Tensor:
    """Return the moduli [B, C, ⌈T/HOP⌉·F] of series [B, C, T], of which `whole` [B] steps count."""
    count = -(-values.shape[2] // HOP)
    room = (count - 1) * HOP + WINDOW - values.shape[2]
    padded = F.pad(values, (WINDOW // 2, max(0, room - WINDOW // 2)))
    window = torch.arange(WINDOW, device=values.device) - WINDOW / 2
    bell = torch.exp(-0.5 * (window / (WINDOW / 6)) ** 2)
    parts = padded.unfold(2, WINDOW, HOP)[:, :, :count] * (bell / bell.norm())
    moduli = torch.fft.rfft(parts).abs()
    beyond = torch.arange(count, device=values.device) * HOP >= whole[:, None]
    moduli.masked_fill_(beyond[:, None, :, None], torch.nan)
    made: Tensor = moduli.flatten(2)
    return made
