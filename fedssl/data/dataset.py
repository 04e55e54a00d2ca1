"""What a loaded image set is, wherever it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from fedssl.data.on_demand import Images


@dataclass(frozen=True)
class Dataset:
    """Images that stay uint8, with what is known of each."""

    images: Images
    """A tensor, uint8 [N, C, H, W], contiguous; or what fetches rows of one when asked."""
    labels: Tensor
    """int64 [N]; -1 where an image has no label."""
    class_names: tuple[str, ...]
    """The name of each label; empty where nothing is labelled."""
    fields: Mapping[str, np.ndarray] = field(default_factory=dict)
    """int64 [N] each, by name: what a `natural` partition may split by (writer, camera, domain)."""

    def __len__(self) -> int:
        return self.images.shape[0]

    def fetch(self, index: np.ndarray | None = None) -> Tensor:
        """Return the images at ``index`` (int64 [M]; all where None), in memory."""
        if index is None:
            if isinstance(self.images, Tensor):
                return self.images
            index = np.arange(len(self))
        return self.images[torch.from_numpy(index)]

    def take(self, index: np.ndarray) -> "Dataset":
        """Return the set of the images at ``index`` (int64 [M]), in memory."""
        fields = {name: values[index] for name, values in self.fields.items()}
        labels = self.labels[torch.from_numpy(index)]
        return Dataset(self.fetch(index), labels, self.class_names, fields)


@dataclass(frozen=True)
class Splits:
    """The images that the clients share out, and those that the server tests on.

    The central probe is fitted on the labelled images of ``train`` and scored on ``test``.
    """

    train: Dataset
    test: Dataset
