"""Images turned four ways, by which the term e-ssl tells how much an image is turned."""

import torch
from torch import Tensor
from torch.nn import functional as F


def four_ways(images: Tensor) -> Tensor:
    """Return images [B, C, H, H] turned by 0, 90, 180 and 270 degrees, [4·B, C, H, H]."""
    return torch.cat([torch.rot90(images, quarter, (2, 3)) for quarter in range(4)])


def small_four_ways(images: Tensor) -> Tensor:
    """Return the same at half the resolution, which costs an encoder no more than the images."""
    return four_ways(F.avg_pool2d(images, 2))
