"""What tests of series use."""

import torch
from torch import Tensor

from fedssl.base.seeding import generator


def series_of(count: int, channels: int, total: int, seed: int = 0) -> Tensor:
    """Draw series of different lengths with gaps, each with a value at its first step."""
    draws = generator(seed, "series of tests")
    series = torch.randn(count, channels, total, generator=draws)
    gaps = torch.rand(count, channels, total, generator=draws) < 0.1
    length = torch.randint(1, total + 1, (count,), generator=draws)
    length[0] = total
    beyond = torch.arange(total) >= length[:, None]
    first = torch.zeros(total, dtype=torch.bool)
    first[0] = True
    return series.masked_fill((gaps & ~first) | beyond[:, None], torch.nan)
