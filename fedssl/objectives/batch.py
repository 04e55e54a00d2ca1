"""A batch: the input of an objective in one local step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """The input of an objective in one local step.

    Examples
    --------
    >>> batch = Batch([torch.zeros(4, 3), torch.ones(4, 3)], index=torch.arange(4))
    >>> len(batch.views), torch.randn(2, generator=batch.generator).shape
    (2, torch.Size([2]))
    """

    views: list[Tensor]
    """float32 [B, …] each: views of the same B examples; views may differ in shape."""
    index: Tensor
    """int64 [B]: the examples' indices among the client's examples."""
    labels: Tensor | None = None
    """int64 [B], -1 where unlabelled; None if the client has no labels."""
    generator: torch.Generator = field(default_factory=torch.Generator)
    """The source of all random numbers of an objective; on the CPU, whatever the device."""
    progress: float = 0.0
    """The share of all rounds done before this step, in [0, 1); schedules depend on it."""


def encode_views(encoder: nn.Module, views: Sequence[Tensor]) -> Tensor:
    """Return the features of all views, [V·B, D], view by view.

    Consecutive views of equal size go through the encoder as one batch, so that BatchNorm
    normalises each size by itself, as in SwAV (Caron et al., "Unsupervised Learning of Visual
    Features by Contrasting Cluster Assignments", NeurIPS 2020).

    Parameters
    ----------
    encoder : nn.Module
        Maps examples of any size to features [B, D].
    views : Sequence[Tensor]
        V tensors [B, …], which may differ in shape.
    """
    runs = [torch.cat(list(run)) for _, run in groupby(views, key=lambda view: view.shape)]
    return torch.cat([encoder(run) for run in runs]) if len(runs) > 1 else encoder(runs[0])
