"""A first-in-first-out queue of vectors that a client keeps: private state."""

import torch
from torch import Tensor, nn


class Queue(nn.Module):
    """The newest vectors that were put in; it starts empty.

    A queue belongs to one client and holds nothing but what that client made itself, so it fills
    at the client's pace: at first it is short, not full of random vectors.

    Parameters
    ----------
    size : int
        How many vectors it holds at most.
    width : int
        Their width D.
    """

    entries: Tensor
    put: Tensor

    def __init__(self, size: int, width: int):
        super().__init__()
        self.register_buffer("entries", torch.zeros(size, width))
        self.register_buffer("put", torch.zeros((), dtype=torch.int64))

    def filled(self) -> Tensor:
        """Return the vectors that are in it, [n, D], in no order."""
        return self.entries[: min(int(self.put), len(self.entries))]

    @torch.no_grad()
    def push(self, vectors: Tensor) -> None:
        """Put in vectors [B, D]; where it is full the oldest go."""
        size = len(self.entries)
        newest = vectors[-size:]
        skipped = len(vectors) - len(newest)
        places = torch.arange(len(newest), device=vectors.device) + (self.put + skipped)
        self.entries[places % size] = newest.to(self.entries.dtype)
        self.put += len(vectors)

    def clear(self) -> None:
        """Take everything out."""
        self.entries.zero_()
        self.put.zero_()
