"""Examples that are read only when they are needed."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Examples(Protocol):
    """A data set's examples: a tensor [N, …], or an object that fetches rows on demand.

    The clients fetch theirs in each round that they train in, several at once from threads; the
    central evaluation fetches its own once.

    Examples
    --------
    >>> import torch
    >>> class Squares:  # makes an example only when it is asked for
    ...     shape = (1_000_000, 1)
    ...
    ...     def __getitem__(self, rows):
    ...         return rows[:, None].float() ** 2
    >>> Squares()[torch.tensor([2, 3])].tolist()
    [[4.0], [9.0]]
    """

    @property
    def shape(self) -> Sequence[int]:
        """N, and the shape of one example."""

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Return the examples at ``rows`` (int64 [M], on the CPU), [M, …].

        The same row gives the same bits whenever it is fetched. A ValueError or OSError names the
        faulty example.
        """
