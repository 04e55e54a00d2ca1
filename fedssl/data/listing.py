"""Lists of example files that are not decoded yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from fedssl.data.dataset import Dataset
from fedssl.data.on_demand import Examples


@dataclass(frozen=True)
class Listing:
    """Example files that are not decoded yet."""

    paths: list[str]
    labels: np.ndarray
    """int64 [N]; -1 where unlabelled."""
    class_names: tuple[str, ...]
    fields: dict[str, np.ndarray]
    """int64 [N] each."""
    field_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What each number of a column means; see `Dataset`."""
    bad: tuple[tuple[str, str], ...] = ()
    """Files that are examples by their names and cannot be read: path, and why."""
    notes: tuple[str, ...] = ()
    """How the files were read, one line each."""

    def take(self, index: np.ndarray) -> "Listing":
        """Return the files at ``index``."""
        fields = {name: values[index] for name, values in self.fields.items()}
        paths = [self.paths[place] for place in index]
        return replace(self, paths=paths, labels=self.labels[index], fields=fields)

    def without(self, places: Sequence[int]) -> "Listing":
        """Return the other files."""
        return self.take(np.delete(np.arange(len(self.paths)), list(places)))

    def dataset(self, examples: Examples) -> Dataset:
        """Return the data set of these files, with the given examples."""
        return Dataset(
            examples,
            torch.from_numpy(self.labels),
            self.class_names,
            self.fields,
            self.field_names,
        )
