"""What an objective sees of a client's examples in one local step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """What one local step sees."""

    views: list[Tensor]
    """float32 [B, …] each: the views of the same B examples, each view of a shape of its own."""
    index: Tensor
    """int64 [B]: the examples' places among the client's own."""
    labels: Tensor | None = None
    """int64 [B], -1 where unlabelled; None where the client has none."""
    draws: torch.Generator = field(default_factory=torch.Generator)
    """On the CPU, whatever the device: all that an objective draws at random comes from it."""
    progress: float = 0.0
    """The share of all rounds done before this step, in [0, 1): what schedules go by."""


def encode_views(encoder: nn.Module, views: Sequence[Tensor]) -> Tensor:
    """Return the features of all views, [V·B, D], view by view.

    Views go through the encoder as one batch, but of different sizes one batch for each run of
    views of one size, so that BatchNorm normalises each size by itself: as in SwAV (Caron et al.,
    "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", NeurIPS 2020).

    Parameters
    ----------
    encoder : nn.Module
        Maps examples of any size to features [B, D].
    views : Sequence[Tensor]
        V of [B, …], each of a shape of its own.
    """
    runs = [torch.cat(list(run)) for _, run in groupby(views, key=lambda view: view.shape)]
    return torch.cat([encoder(run) for run in runs]) if len(runs) > 1 else encoder(runs[0])
