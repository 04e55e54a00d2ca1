"""The ways to share out the training examples among clients."""

from dataclasses import replace

from fedssl.base.registry import Registry
from fedssl.base.seeding import numpy_generator
from fedssl.data.dataset import Dataset
from fedssl.partitions.classes import Classes
from fedssl.partitions.config import PartitionConfig
from fedssl.partitions.counts import Counts
from fedssl.partitions.dirichlet import Dirichlet, Quantity
from fedssl.partitions.iid import Iid
from fedssl.partitions.natural import Natural
from fedssl.partitions.partition import Partition
from fedssl.partitions.shards import Shards

PARTITIONS = Registry(
    "partition",
    "fedssl.partitions",
    PartitionConfig,
    Iid,
    Dirichlet,
    Shards,
    Classes,
    Quantity,
    Natural,
)
"""The partitions by the name that a config gives them."""


def partition(config: PartitionConfig, dataset: Dataset, seed: int) -> Partition:
    """Share out the examples of ``dataset`` among clients.

    Raises
    ------
    ValueError
        The config does not fit the examples; the message starts with the field at fault.

    Examples
    --------
    >>> import torch
    >>> dataset = Dataset(torch.zeros(6, 1), torch.tensor([0, 0, 0, 1, 1, 1]), ("a", "b"))
    >>> partition(Iid(clients=2), dataset, seed=0).sizes().tolist()
    [3, 3]
    """
    total, clients, minimum = len(dataset), config.clients, config.minimum
    if clients is not None and clients * minimum > total:
        raise ValueError(
            f"partition.clients = {clients}: more than the {total} training examples allow; use at "
            f"most {total // minimum} (partition.minimum: {minimum} examples each)"
        )
    unlabelled = int((dataset.labels < 0).sum())
    if config.by_label and unlabelled:
        others = [name for name, other in PARTITIONS.items() if not other.by_label]
        raise ValueError(
            f"partition.name = {config.name}: goes by labels, and {unlabelled} of the {total} "
            f"training examples have none; use {', '.join(others[:-1])} or {others[-1]}"
        )
    owner = config.assign(dataset, numpy_generator(seed, "partition"))
    result = Partition.of(owner, clients or int(owner.max()) + 1)
    least = result.sizes().min()
    if least < minimum:
        raise ValueError(
            f"partition.minimum = {minimum}: a client got only {least} examples; use that minimum "
            "or fewer clients"
        )
    return replace(result, names=config.client_names(dataset, owner))


__all__ = ["PARTITIONS", "Counts", "Partition", "PartitionConfig", "partition"]
