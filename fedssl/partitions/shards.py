"""Shards of examples sorted by label."""

from typing import Literal

import numpy as np
from pydantic import Field

from fedssl.data.dataset import Dataset
from fedssl.partitions.config import PartitionConfig


class Shards(PartitionConfig):
    """FedAvg's label skew: examples sorted by label, cut into equal shards, a few to each client.

    With two shards a client holds about two classes [1]_.

    References
    ----------
    .. [1] McMahan et al., "Communication-efficient learning of deep networks from decentralized
       data", AISTATS 2017, section 3.
    """

    by_label = True

    name: Literal["shards"] = "shards"
    """This partition."""
    clients: int = Field(ge=1)
    """How many clients there are."""
    shards_per_client: int = Field(default=2, ge=1)
    """How many shards each client is dealt."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        """Sort, cut, deal."""
        total, shards = len(dataset), self.clients * self.shards_per_client
        if shards > total:
            raise ValueError(
                f"partition.shards_per_client = {self.shards_per_client}: {shards} shards of "
                f"{total} examples; use at most {total // self.clients}, or fewer clients"
            )
        shuffled = random.permutation(total)
        by_label = shuffled[np.argsort(dataset.labels.numpy()[shuffled], kind="stable")]
        holder = random.permutation(np.arange(shards) % self.clients)
        owner = np.empty(total, np.int64)
        owner[by_label] = holder[np.arange(total) * shards // total]
        return owner
