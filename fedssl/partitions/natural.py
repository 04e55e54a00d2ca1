"""One client for each source of the data."""

from typing import Literal

import numpy as np
from pydantic import Field

from fedssl.data.dataset import Dataset
from fedssl.partitions.config import PartitionConfig

_NAMED = 3
"""The largest number of values in a client's name."""


class Natural(PartitionConfig):
    """The real thing: one client per writer, camera, hospital, domain or font.

    Fewer clients than values share the values out at random, equally many to each.
    """

    name: Literal["natural"] = "natural"
    """This partition."""
    clients: int | None = Field(default=None, ge=1)
    """How many clients there are; null for one per value."""
    field: str | None = None
    """What to split by: a column that the data set has for each example, such as domain or writer.
    It must be given; where it is left out, the error names the columns that there are."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        """Give each value's examples to one client."""
        if self.field is None or self.field not in dataset.fields:
            columns = ", ".join(sorted(dataset.fields))
            given = "is missing" if self.field is None else f"= {self.field}"
            raise ValueError(
                f"partition.field {given}: the data set "
                + (f"has {columns}" if columns else "has no such columns; use another partition")
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

    def client_names(self, dataset: Dataset, owner: np.ndarray) -> tuple[str, ...]:
        """Name each client by its value, or by the first of its values."""
        assert self.field is not None
        column = dataset.fields[self.field]
        values: list[list[int]] = [[] for _ in range(int(owner.max()) + 1)]
        for client, value in np.unique(np.stack([owner, column], 1), axis=0).tolist():
            values[client].append(value)
        return tuple(self._name(dataset, client_values) for client_values in values)

    def _name(self, dataset: Dataset, values: list[int]) -> str:
        assert self.field is not None
        kind = "" if self.field in dataset.field_names else f"{self.field} "
        shown = [kind + dataset.name_of(self.field, value) for value in values[:_NAMED]]
        more = [f"{len(values) - _NAMED:,} more"] if len(values) > _NAMED else []
        return " + ".join([*shown, *more])
