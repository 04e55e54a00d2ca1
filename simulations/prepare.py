"""What is done before the first round: the images are loaded and shared out, and all is checked."""

from dataclasses import dataclass

import numpy as np

from fedssl.config_file import ConfigError
from fedssl.data import Splits, load
from fedssl.objectives import OBJECTIVES
from fedssl.partitions import Partition, partition
from simulations.experiment import Experiment, resolve


@dataclass(frozen=True)
class Prepared:
    """A resolved experiment, its images, and which client has which."""

    experiment: Experiment
    splits: Splits
    partition: Partition

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the columns of `counts`; ``unlabelled`` comes last where it is needed."""
        names = self.splits.train.class_names
        return (*names, "unlabelled") if bool((self.splits.train.labels < 0).any()) else names

    @property
    def counts(self) -> np.ndarray:
        """int64 [K, C]: the images of each client and class."""
        labels = self.splits.train.labels.numpy()
        columns = np.where(labels < 0, len(self.splits.train.class_names), labels)
        return self.partition.counts(columns, len(self.classes))


def prepare(experiment: Experiment) -> Prepared:
    """Load the images and share them out; what can be refused before training is refused here.

    Raises
    ------
    ConfigError
        The data cannot be read, or cannot be shared out as the config wants it.
    """
    experiment = resolve(experiment)
    try:
        splits = load(experiment.data)
        parts = partition(experiment.partition, splits.train, experiment.seed)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    objective = OBJECTIVES.get(experiment.objective.name)
    smallest = int(parts.sizes().min())
    if objective and smallest < objective.minimum_batch:
        raise ConfigError(
            f"partition.minimum = {experiment.partition.minimum}: the smallest client got "
            f"{smallest} image(s), but {experiment.objective.name} needs at least "
            f"{objective.minimum_batch} in a batch; raise it"
        )
    return Prepared(experiment, splits, parts)
