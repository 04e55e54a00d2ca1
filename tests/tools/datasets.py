"""Random data sets of images."""

import numpy as np
import torch

from fedssl.data import Dataset


def random_dataset(count: int = 12, channels: int = 3, side: int = 8, classes: int = 3) -> Dataset:
    draws = torch.Generator().manual_seed(count)
    examples = torch.randint(0, 256, (count, channels, side, side), generator=draws)
    labels = torch.arange(count) % classes
    columns = {"camera": np.arange(count) % 2}
    return Dataset(examples.to(torch.uint8), labels, tuple("abcdefgh"[:classes]), columns)
