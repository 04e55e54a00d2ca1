"""Examples to share out, and how a config shares them out."""

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import TypeAdapter

from fedssl.data import Dataset
from fedssl.partitions import (
    PARTITIONS,
    Partition,
    PartitionConfig,
    partition,
)

SECTION: TypeAdapter[PartitionConfig] = TypeAdapter(Annotated[PartitionConfig, PARTITIONS.choice])


def dataset(labels: Any, **fields: Any) -> Dataset:
    labels = torch.as_tensor(np.asarray(labels, np.int64))
    classes = tuple(map(str, range(max(int(labels.max()), 0) + 1)))
    return Dataset(torch.zeros(len(labels), 3, 1, 1, dtype=torch.uint8), labels, classes, fields)


def share_out(data: Dataset, seed: int = 0, **section: Any) -> Partition:
    return partition(SECTION.validate_python(section), data, seed)


BALANCED = np.arange(600) % 10
