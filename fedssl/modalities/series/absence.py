"""What is not there: a NaN is a value that was not measured, or the end of a shorter series."""

import torch
from torch import Tensor


def steps_there(series: Tensor) -> Tensor:
    """Tell which steps of series [B, C, T] are there, in any channel: bool [B, T]."""
    return ~series.isnan().all(1)


def lengths(series: Tensor) -> Tensor:
    """Return up to which step series [B, C, T] go, int64 [B]; 0 where nothing is there."""
    numbers = torch.arange(1, series.shape[2] + 1, device=series.device)
    return (steps_there(series) * numbers).amax(1)
