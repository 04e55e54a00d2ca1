"""The clients that the data came from."""

from typing import Literal

import numpy as np
from pydantic import Field

from fedssl.data.dataset import Dataset
from fedssl.partitions.config import PartitionConfig


class Natural(PartitionConfig):
    """The real thing: one client per writer, camera, hospital, domain or font.

    Fewer clients than values share the values out at random, equally many to each.
    """

    name: Literal["natural"] = "natural"
    """This partition."""
    clients: int | None = Field(default=None, ge=1)
    """How many clients there are; null for one per value."""
    field: str
    """What to split by: a column that the data set has for each image."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        """Give each value's images to one client."""
        if self.field not in dataset.fields:
            known = ", ".join(sorted(dataset.fields))
            raise ValueError(
                f"partition.field = {self.field}: the data set "
                + (f"has {known}" if known else "has no such columns; use another partition")
            )
        values, code = np.unique(dataset.fields[self.field], return_inverse=True)
        if self.clients is None:
            return code
        if self.clients > len(values):
            raise ValueError(
                f"partition.clients = {self.clients}: {self.field} has only {len(values)} values, "
                "and none is split; use that many at most"
            )
        return random.permutation(np.arange(len(values)) % self.clients)[code]
