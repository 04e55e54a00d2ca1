"""What a loaded data set is, wherever it came from."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field

import numpy as np
import torch
from torch import Tensor

from fedssl.data.on_demand import Examples


@dataclass(frozen=True)
class Dataset:
    """Examples as they are stored, with what is known of each."""

    examples: Examples
    """A tensor [N, …], contiguous; or what fetches rows of one when asked."""
    labels: Tensor
    """int64 [N]; -1 where an example has no label."""
    class_names: tuple[str, ...]
    """The name of each label; empty where nothing is labelled."""
    fields: Mapping[str, np.ndarray] = field(default_factory=dict)
    """int64 [N] each, by name: what a `natural` partition may split by (writer, camera, domain)."""
    field_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By column: what its numbers, from 0, are called; left out where a number says it all."""

    def __len__(self) -> int:
        return self.examples.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return tuple(self.examples.shape[1:])

    def fetch(self, index: np.ndarray | None = None) -> Tensor:
        """Return the examples at ``index`` (int64 [M]; all where None), in memory."""
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
        """Return what a column's number is called."""
        names = self.field_names.get(column, ())
        return names[value] if 0 <= value < len(names) else str(value)


@dataclass(frozen=True)
class Splits:
    """The examples that the clients share out, and those that the server tests on.

    The central probe is fitted on the labelled examples of ``train`` and scored on ``test``.
    """

    train: Dataset
    test: Dataset
    _: KW_ONLY
    notes: tuple[str, ...] = ()
    """What was read as what, a line each."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Files that could not be read and were left out: path, and why."""
