"""All clients alike."""

from typing import Literal

import numpy as np
from pydantic import Field

from fedssl.data.dataset import Dataset
from fedssl.partitions.config import PartitionConfig


class Iid(PartitionConfig):
    """The easy reference: all clients draw from the same examples; sizes differ by at most one."""

    name: Literal["iid"] = "iid"
    """This partition."""
    clients: int = Field(ge=1)
    """How many clients there are."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        """Deal the shuffled examples out in turn."""
        return random.permutation(np.arange(len(dataset)) % self.clients)
