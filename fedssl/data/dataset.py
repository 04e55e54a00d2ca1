"""A loaded data set, whatever its source."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field

import numpy as np
import torch
from torch import Tensor

from fedssl.data.on_demand import Examples


@dataclass(frozen=True)
class Dataset:
    """Stored examples with their labels and other columns.

    Examples
    --------
    >>> dataset = Dataset(torch.zeros(3, 2), torch.tensor([0, 1, -1]), ("cat", "dog"))
    >>> len(dataset), dataset.shape
    (3, (2,))
    >>> dataset.take(np.array([0, 2])).labels
    tensor([ 0, -1])
    """

    examples: Examples
    """A contiguous tensor [N, …], or an object that fetches rows on demand."""
    labels: Tensor
    """int64 [N]; -1 if an example has no label."""
    class_names: tuple[str, ...]
    """The name of each label; empty if nothing is labelled."""
    fields: Mapping[str, np.ndarray] = field(default_factory=dict)
    """int64 [N] each, by name: columns that a `natural` partition may split by (writer, domain)."""
    field_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By column: the names of its numbers, from 0; left out if they have no names."""

    def __len__(self) -> int:
        return self.examples.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.examples.shape[1:])

    def fetch(self, index: np.ndarray | None = None) -> Tensor:
        """Return the examples at ``index`` (int64 [M]; all if None), in memory."""
        if index is None:
            if isinstance(self.examples, Tensor):
                return self.examples
            index = np.arange(len(self))
        return self.examples[torch.from_numpy(index)]

    def take(self, index: np.ndarray) -> "Dataset":
        """Return the set of the examples at ``index`` (int64 [M]), in memory."""
        fields = {name: values[index] for name, values in self.fields.items()}
        labels = self.labels[torch.from_numpy(index)]
        return Dataset(self.fetch(index), labels, self.class_names, fields, self.field_names)

    def name_of(self, column: str, value: int) -> str:
        """Return the name of a column's number."""
        names = self.field_names.get(column, ())
        return names[value] if 0 <= value < len(names) else str(value)


@dataclass(frozen=True)
class Splits:
    """The training examples of the clients, and the test examples of the server.

    The central probe is fitted on the labelled examples of ``train`` and scored on ``test``.

    Examples
    --------
    What a function of your own, named in ``data.name``, returns:

    >>> def load_pets(count=4):
    ...     pets = Dataset(torch.zeros(count, 2), torch.arange(count) % 2, ("cat", "dog"))
    ...     return Splits(train=pets, test=pets.take(np.arange(2)), notes=("two kinds of pets",))
    >>> len(load_pets().train), len(load_pets().test)
    (4, 2)
    """

    train: Dataset
    test: Dataset
    _: KW_ONLY
    notes: tuple[str, ...] = ()
    """How the data was read, one line each."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Files that could not be read and were left out: path, and why."""
