"""All clients alike."""

from typing import Literal

import numpy as np
from pydantic import Field

from fedssl.data.dataset import Dataset
from fedssl.partitions.config import PartitionConfig


class Iid(PartitionConfig):
    """The easy reference: all clients draw from the same examples; sizes differ by at most one.

    Examples
    --------
    >>> import torch
    >>> dataset = Dataset(torch.zeros(5, 1), torch.tensor([0, 0, 1, 1, 1]), ("a", "b"))
    >>> owner = Iid(clients=2).assign(dataset, np.random.default_rng(0))
    >>> np.bincount(owner).tolist()
    [3, 2]
    """

    name: Literal["iid"] = "iid"
    """This partition."""
    clients: int = Field(ge=1)
    """How many clients there are."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        """Deal the shuffled examples out in turn."""
        return random.permutation(np.arange(len(dataset)) % self.clients)
