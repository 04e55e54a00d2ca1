"""Batch Styles Standardization: all images of a batch in the style of one of them."""

from typing import ClassVar, Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from fedssl.modalities.image.views.step import ImageStep
from fedssl.views.step import Range, ascending, between


class BatchStyles(ImageStep):
    """Give a batch one style, so that only content tells its images apart, whatever their domain.

    Each view of a batch has the style of another image of the client's own: nothing crosses
    clients. For images of several styles (cameras, scanners, paintings) on a client. It must be
    the first step: it needs whole images.

    Source: Scalbert et al., "Towards domain-invariant Self-Supervised Learning with Batch Styles
    Standardization", ICLR 2024; see `restyled`.
    """

    name: Literal["batch-styles"] = "batch-styles"
    """The style of one image for all of a batch."""
    share: Range = (0.05, 0.2)
    """Least and greatest side of the square of frequencies that are style, as a share of all."""

    rank: ClassVar[int] = 0
    draws: ClassVar[int] = 2

    @model_validator(mode="after")
    def _is_a_share(self) -> Self:
        ascending("share", self.share)
        if self.share[1] > 1:
            raise ValueError(f"share = {list(self.share)}: must be at most 1")
        return self

    def draw(self, uniform: Tensor, size: tuple[int, int]) -> Tensor:
        """Return which image's style it is, and the share, [B, 2]; the first row alone counts."""
        which = (uniform[:, :1] * len(uniform)).floor().clamp(max=len(uniform) - 1)
        return torch.cat([which, between(uniform[:, 1:], *self.share)], 1)

    def style(self, images: Tensor, drawn: Tensor) -> tuple[Tensor, float]:
        """Return the image [1, 3, H, W] whose style all of a batch get, and the share."""
        which, share = drawn[0].tolist()
        return images[int(which)][None], share

    def apply(self, images: Tensor, style: tuple[Tensor, float]) -> Tensor:
        """Return images, float32 in [0, 1], that have the style; what is beyond is clamped."""
        return restyled(_unit(images), _unit(style[0]), style[1]).clamp_(0, 1)


def restyled(images: Tensor, style: Tensor, share: float) -> Tensor:
    """Return images with the phase of their own and the low-frequency amplitude of another.

    Low are frequencies of at most ``share`` / 2 cycles per pixel on both axes, so at least the mean
    colour, and with a share of 1 all of them. Values can leave [0, 1].

    Parameters
    ----------
    images : Tensor
        float32 [B, C, H, W].
    style : Tensor
        float32 [1, C, H, W].
    share : float
        In [0, 1].

    Source: see `BatchStyles`, section 3; the swap is that of Yang and Soatto, "FDA: Fourier Domain
    Adaptation for Semantic Segmentation", CVPR 2020, equation 4.
    """
    height, width = images.shape[2:]
    down = torch.fft.fftfreq(height, dtype=torch.float64, device=images.device)[:, None]
    across = torch.fft.rfftfreq(width, dtype=torch.float64, device=images.device)
    low = torch.maximum(down.abs(), across) <= share / 2
    spectrum = torch.fft.rfft2(images)
    # Where there is nothing, as in a black image, any phase is its own: 0.
    phase = torch.where(spectrum == 0, 1, torch.sgn(spectrum))
    swapped = torch.where(low, phase * torch.fft.rfft2(style).abs(), spectrum)
    made: Tensor = torch.fft.irfft2(swapped, s=(height, width))
    return made


def _unit(images: Tensor) -> Tensor:
    return images.mul(1 / 255) if images.dtype == torch.uint8 else images
