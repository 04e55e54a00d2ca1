"""The random numbers of a view: a row for each example."""

from collections.abc import Sequence

import torch
from torch import Tensor

DRAWS = 32
"""Each example takes a multiple of so many: so a policy whose last step is left out gives the
others the same parameters, as a rule."""


def draw_uniform(
    count: int, needed: Sequence[int], generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Return numbers that are uniform in [0, 1), float32 [B, n] for each n of ``needed``.

    Two batches drawn after one another get the numbers of the one batch that they make.

    Parameters
    ----------
    count : int
        B: the examples.
    needed : Sequence[int]
        How many each step takes for each example.
    generator : torch.Generator
        On the CPU.
    """
    uniform = torch.rand(count, -(-sum(needed) // DRAWS) * DRAWS, generator=generator)
    return torch.split(uniform[:, : sum(needed)], list(needed), 1)
