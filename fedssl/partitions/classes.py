"""A fixed number of classes for each client."""

from typing import Literal

import numpy as np
from pydantic import Field

from fedssl.data.dataset import Dataset
from fedssl.partitions.config import PartitionConfig


class Classes(PartitionConfig):
    """The hardest label skew: every client holds exactly so many classes, drawn at random.

    Every class goes to equally many clients (to within one), who share its examples evenly.
    """

    by_label = True

    name: Literal["classes"] = "classes"
    """This partition."""
    clients: int = Field(ge=1)
    """How many clients there are."""
    classes_per_client: int = Field(default=2, ge=1)
    """How many classes each client holds."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        """Choose each class's holders, then cut it evenly among them."""
        labels = dataset.labels.numpy()
        present, sizes = np.unique(labels, return_counts=True)
        slots, each = self.clients * self.classes_per_client, self.classes_per_client
        if each > len(present):
            raise ValueError(
                f"partition.classes_per_client = {each}: the training examples have only "
                f"{len(present)} classes"
            )
        if slots < len(present):
            raise ValueError(
                f"partition.classes_per_client = {each}: {self.clients} clients × {each} cannot "
                f"hold all {len(present)} classes; use at least {-(-len(present) // self.clients)}"
            )
        holders = random.permutation(np.diff(np.arange(len(present) + 1) * slots // len(present)))
        too_small = np.flatnonzero(sizes < holders)
        if len(too_small):
            raise ValueError(
                f"partition.classes_per_client = {each}: class {present[too_small[0]]} has "
                f"{sizes[too_small[0]]} examples for {holders[too_small[0]]} clients; use fewer "
                "classes per client or fewer clients"
            )
        owner = np.empty(len(dataset), np.int64)
        free = np.full(self.clients, each)
        for place in random.permutation(len(present)):
            # Those with the most room first, ties at random: so no class ever finds too few.
            by_room = np.argsort(free + random.random(self.clients))
            chosen = by_room[self.clients - holders[place] :]
            free[chosen] -= 1
            examples = random.permutation(np.flatnonzero(labels == present[place]))
            owner[examples] = random.permutation(chosen)[np.arange(len(examples)) % len(chosen)]
        return owner
