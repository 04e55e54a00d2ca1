"""The ``partition`` section: the fields of all partitions."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from pydantic import Field

from fedssl.base.fields import Fields
from fedssl.data.dataset import Dataset


class PartitionConfig(Fields):
    """The ``partition`` section: one subclass for each way to share out the examples.

    Examples
    --------
    >>> import torch
    >>> class Dealt(PartitionConfig):  # partition: {name: my_module.Dealt, clients: 2}
    ...     name: str = "my_module.Dealt"
    ...
    ...     def assign(self, dataset, random):
    ...         return np.arange(len(dataset)) % self.clients
    >>> dataset = Dataset(torch.zeros(5, 1), torch.full((5,), -1), class_names=())
    >>> Dealt(clients=2).assign(dataset, np.random.default_rng(0)).tolist()
    [0, 1, 0, 1, 0]
    """

    by_label: ClassVar[bool] = False
    """Whether all examples must have labels."""

    name: str
    """Which partition: a name that `fedssl list` prints, or a dotted path."""
    clients: int | None = Field(ge=1)
    """How many clients there are."""
    minimum: int = Field(default=2, ge=1)
    """The fewest examples that a client may hold."""

    def client_names(self, dataset: Dataset, owner: np.ndarray) -> tuple[str, ...]:
        """Return the names of the clients, given each example's client, int64 [N].

        Empty if clients have only numbers.
        """
        return ()

    @abstractmethod
    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        """Return each example's client, int64 [N] in [0, K).

        Raises
        ------
        ValueError
            The examples cannot be partitioned so; the message starts with the field at fault.
        """
