"""The random numbers of a view: one row for each example."""

from collections.abc import Sequence

import torch
from torch import Tensor

DRAWS = 32
"""Each example gets a multiple of this many numbers, so that leaving out a policy's last step
usually does not change the parameters of the others."""


def draw_uniform(
    count: int, needed: Sequence[int], generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Return numbers that are uniform in [0, 1), float32 [B, n] for each n of ``needed``.

    Two batches drawn one after the other get the same numbers as both drawn as one batch.

    Parameters
    ----------
    count : int
        B: the number of examples.
    needed : Sequence[int]
        How many numbers each step uses for each example.
    generator : torch.Generator
        The random generator, on the CPU.

    Examples
    --------
    >>> first, second = draw_uniform(3, [2, 1], torch.Generator().manual_seed(0))
    >>> first.shape, second.shape
    (torch.Size([3, 2]), torch.Size([3, 1]))
    """
    uniform = torch.rand(count, -(-sum(needed) // DRAWS) * DRAWS, generator=generator)
    return torch.split(uniform[:, : sum(needed)], list(needed), 1)
