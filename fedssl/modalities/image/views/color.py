"""Changes of colour, each image with a factor of its own.

The definitions are torchvision's. Those with a trailing underscore work in place on float32
[B, 3, H, W] in [0, 1], since passes over memory are what their time goes into.
"""

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)
"""The weights of red, green and blue in the grey value (ITU-R 601)."""


def gray(images: Tensor) -> Tensor:
    """Return the grey values [B, 1, H, W]."""
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return red.mul(LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def brightness_(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply by a factor [B] and clamp to [0, 1]."""
    return images.mul_(_per_image(factors)).clamp_(0, 1)


def contrast_(images: Tensor, factors: Tensor) -> Tensor:
    """Scale the distance to the image's mean grey value by a factor [B], and clamp."""
    mean = _per_image(images.mean((2, 3)) @ images.new_tensor(LUMA))
    factors = _per_image(factors)
    return images.mul_(factors).add_((1 - factors) * mean).clamp_(0, 1)


def saturation_(images: Tensor, factors: Tensor) -> Tensor:
    """Scale the distance to each pixel's grey value by a factor [B], and clamp."""
    return images.lerp_(gray(images), _per_image(1 - factors)).clamp_(0, 1)


def hue_(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue in HSV space by a share [B] of the colour circle, in [−0.5, 0.5].

    Value v = max(r, g, b) and range d = max − min stay. With the hue h in turns, each channel is
    v − d·clamp(2 − 6·|h − c|, 0, 1), where |h − c| is the distance on the circle to the colour c
    opposite to the channel (red: ½, green: ⅚, blue: ⅙).

    The hue needs no case distinction: with A = (r − min)/d and B = |g − b|/d, its distance to
    red is ¼ − (A − ½)·(½ − B/3) turns, towards green where g ≥ b. (Red largest: A = 1, so B/6;
    red in the middle: B = 1, so (2 − A)/6; red smallest: A = 0, so ½ − B/6.)
    """
    red, green, blue = images.unbind(1)
    value = torch.maximum(red, green).maximum(blue)
    low = torch.minimum(red, green).minimum(blue)
    span = value - low
    # A grey pixel has no hue: any finite one does, as its range is zero.
    inverse = span.clamp(min=1e-20).reciprocal_()
    side = green - blue
    near = side.abs().mul_(inverse).mul_(-1 / 3).add_(0.5)
    redness = low.neg_().add_(red).mul_(inverse).sub_(0.5)
    hue = redness.mul_(near).neg_().add_(0.25).copysign_(side)
    # All are shifted by two turns to be positive, so that frac is the place on the circle, and by
    # half a turn so that |place − ½| is the distance to the opposite colour.
    opposite = images.new_tensor((0.5, 5 / 6, 1 / 6))
    shift = turns[:, None] + (2.5 - opposite)
    images.copy_(hue[:, None]).add_(shift[:, :, None, None]).frac_().sub_(0.5).abs_()
    # v − d·clamp(2 − 6·x, 0, 1) with the constants moved out of the clamp, a pass less.
    images.clamp_(1 / 6, 1 / 3)
    base = value.sub_(span, alpha=2).unsqueeze(1)
    return torch.addcmul(base, images, span.mul_(6).unsqueeze(1), out=images)


def solarize_(images: Tensor) -> Tensor:
    """Invert the values that are at least ½.

    Examples
    --------
    >>> solarize_(torch.tensor([0.25, 0.75]))
    tensor([0.2500, 0.2500])
    """
    # min(x, 1 − x) is the same: one pass and no mask.
    return torch.minimum(images, 1 - images, out=images)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]
