"""What the views' tests share."""

import torch
from torch import Tensor

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def floats(count: int, size: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=rng(seed))


def bytes_(count: int, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    shape = (count, 3, height, width)
    return torch.randint(0, 256, shape, generator=rng(seed), dtype=torch.uint8)


def uniform(count: int, draws: int, seed: int = 0) -> Tensor:
    return torch.rand(count, draws, generator=rng(seed))


def normalised(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images / 255 - mean) / std
