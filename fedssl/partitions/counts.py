"""The number of examples of each class that each client has."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Counts:
    """A sparse table of clients and classes: only cells that hold examples are stored.

    It never has more cells than there are examples.

    Examples
    --------
    >>> counts = Counts((2, 3), np.array([0, 0, 1]), np.array([0, 2, 2]), np.array([5, 5, 7]))
    >>> counts.sizes().tolist()
    [10, 7]
    >>> counts.mixture().round(2).tolist()
    [2.0, 1.0]
    """

    shape: tuple[int, int]
    """The number of clients, K, and of classes, C."""
    client: np.ndarray
    """int64 [M]: each cell's client."""
    label: np.ndarray
    """int64 [M]: each cell's class."""
    examples: np.ndarray
    """int64 [M]: how many examples it holds."""

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Yield the client, class and examples of each cell."""
        columns = self.client, self.label, self.examples
        step = 100_000  # Python's integers are several times as large as numpy's
        for start in range(0, len(self.client), step):
            yield from zip(*(c[start : start + step].tolist() for c in columns), strict=True)

    def sizes(self) -> np.ndarray:
        """Return how many examples each client has, int64 [K]."""
        return np.bincount(self.client, self.examples, self.shape[0]).astype(np.int64)

    def dense(self, clients: int | None = None) -> np.ndarray:
        """Return the whole table of the first ``clients`` (all where None), int64 [clients, C]."""
        rows = self.shape[0] if clients is None else min(clients, self.shape[0])
        table = np.zeros((rows, self.shape[1]), np.int64)
        in_rows = self.client < rows
        np.add.at(table, (self.client[in_rows], self.label[in_rows]), self.examples[in_rows])
        return table

    def mixture(self) -> np.ndarray:
        """Return each client's effective number of classes, exp(entropy), float64 [K].

        It is 1 for a client without examples, too.
        """
        shares = self.examples / self.sizes()[self.client]
        entropy = -np.bincount(self.client, shares * np.log(shares), self.shape[0])
        return np.asarray(np.exp(entropy))
