"""What an objective sees of a client's images in one local step."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """What one local step sees."""

    views: list[Tensor]
    """float32 [B, C, H, W] each, normalised: the views of the same B images."""
    index: Tensor
    """int64 [B]: the images' places among the client's own."""
    labels: Tensor | None = None
    """int64 [B], -1 where unlabelled; None where the client has none."""
    draws: torch.Generator = field(default_factory=torch.Generator)
    """On the CPU, whatever the device: all that an objective draws at random comes from it."""
    progress: float = 0.0
    """The share of all rounds done before this step, in [0, 1): what schedules go by."""
