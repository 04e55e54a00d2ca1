"""A first-in-first-out queue of vectors, part of a client's private state."""

import torch
from torch import Tensor, nn


class Queue(nn.Module):
    """A queue of the newest vectors; it starts empty.

    A queue belongs to one client and holds only that client's vectors, so it fills as the
    client trains: at first it is short, not full of random vectors.

    Parameters
    ----------
    size : int
        How many vectors it holds at most.
    width : int
        Their width D.

    Examples
    --------
    >>> queue = Queue(size=2, width=1)
    >>> queue.push(torch.tensor([[1.0], [2.0], [3.0]]))
    >>> sorted(queue.filled().flatten().tolist())
    [2.0, 3.0]
    """

    entries: Tensor
    put: Tensor

    def __init__(self, size: int, width: int):
        super().__init__()
        self.register_buffer("entries", torch.zeros(size, width))
        self.register_buffer("put", torch.zeros((), dtype=torch.int64))

    def filled(self) -> Tensor:
        """Return the vectors in the queue, [n, D], in no order."""
        return self.entries[: min(int(self.put), len(self.entries))]

    @torch.no_grad()
    def push(self, vectors: Tensor) -> None:
        """Add vectors [B, D]; if the queue is full the oldest are dropped."""
        size = len(self.entries)
        newest = vectors[-size:]
        skipped = len(vectors) - len(newest)
        places = torch.arange(len(newest), device=vectors.device) + (self.put + skipped)
        self.entries[places % size] = newest.to(self.entries.dtype)
        self.put += len(vectors)

    def clear(self) -> None:
        """Remove all vectors."""
        self.entries.zero_()
        self.put.zero_()
