"""The runtime of clients in a process: the examples, their partition, and resident models."""

import threading

import torch
from torch import Tensor

from fedssl.base.allocator import keep_freed_memory
from fedssl.config import LearningConfig
from fedssl.data import Dataset
from fedssl.models.blueprint import ModelBlueprint
from fedssl.partitions import Partition
from fedssl.training.local_update import LocalTrainer


class ClientRuntime:
    """The client side of one experiment in one process.

    Parameters
    ----------
    config : LearningConfig
        The learning part of the experiment's config.
    train : Dataset
        All training examples; moved to ``device`` once, unless they are on demand.
    partition : Partition
        The assignment of examples to clients.
    device : torch.device
        The device on which clients train.

    Examples
    --------
    With a config, `fedssl.modalities.load` and `fedssl.partitions.partition`::

        train = load(config.data).train
        shares = partition(config.partition, train, config.seed)
        runtime = ClientRuntime(config, train, shares, torch.device("cpu"))
        examples, labels = runtime.examples_of(client=0)
    """

    worker_class: type[LocalTrainer] = LocalTrainer
    """The class of each thread's worker."""

    def __init__(
        self, config: LearningConfig, train: Dataset, partition: Partition, device: torch.device
    ):
        keep_freed_memory()
        examples = train.examples
        self.examples = examples.to(device) if isinstance(examples, Tensor) else examples
        self.labels = train.labels.to(device)
        self.partition = partition
        self.stop = threading.Event()
        """Set it to cancel the running updates."""
        self.blueprint = ModelBlueprint.of(config, train)
        self._device = device
        self._local = threading.local()

    def worker(self) -> LocalTrainer:
        """Return this thread's worker, building it at the first call."""
        if not hasattr(self._local, "worker"):
            self._local.worker = self.worker_class(self.blueprint, self._device, self.stop)
        worker: LocalTrainer = self._local.worker
        return worker

    def examples_of(self, client: int) -> tuple[Tensor, Tensor]:
        """Return a client's examples, [n, …] as stored, and labels, int64 [n], on the device.

        Raises
        ------
        ValueError, OSError
            An example on demand cannot be fetched.
        """
        rows = torch.from_numpy(self.partition.indices(client))
        on_device = rows.to(self._device)
        examples = self.examples[on_device if isinstance(self.examples, Tensor) else rows]
        return examples.to(self._device), self.labels[on_device]
