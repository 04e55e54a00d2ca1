"""What a process holds to run clients: the images, who owns which, a resident model a thread."""

import threading

import torch
from torch import Tensor

from fedssl.config import LearningConfig
from fedssl.data import Dataset
from fedssl.local_update import Worker
from fedssl.memory import keep_freed_memory
from fedssl.partitions import Partition


class ClientRuntime:
    """The client side of one experiment in one process.

    Parameters
    ----------
    config : LearningConfig
        The experiment's learning.
    train : Dataset
        All training images; moved to ``device`` once, as uint8, unless they are on demand.
    partition : Partition
        Which images each client owns.
    device : torch.device
        Where clients train.
    """

    worker_class: type[Worker] = Worker
    """What a thread's resident model is built as."""

    def __init__(
        self, config: LearningConfig, train: Dataset, partition: Partition, device: torch.device
    ):
        keep_freed_memory()
        images = train.images
        self.images = images.to(device) if isinstance(images, Tensor) else images
        self.labels = train.labels.to(device)
        self.partition = partition
        self.stop = threading.Event()
        """Set it to end the updates under way."""
        self._config = config
        self._device = device
        self._local = threading.local()

    def worker(self) -> Worker:
        """Return this thread's worker, building it at the first call."""
        if not hasattr(self._local, "worker"):
            size = self.images.shape[-1]
            self._local.worker = self.worker_class(self._config, size, self._device, self.stop)
        worker: Worker = self._local.worker
        return worker

    def images_of(self, client: int) -> tuple[Tensor, Tensor]:
        """Return a client's images, uint8 [n, C, H, W], and labels, int64 [n], on the device.

        Raises
        ------
        ValueError, OSError
            An image on demand cannot be fetched.
        """
        rows = torch.from_numpy(self.partition.indices(client))
        own = rows.to(self._device)
        images = self.images[own if isinstance(self.images, Tensor) else rows]
        return images.to(self._device), self.labels[own]
