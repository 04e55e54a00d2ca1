"""A device of a real federation: its own examples, and the learning that the server asks for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clients.runtime import ClientRuntime
from fedssl.base.config_file import ConfigError, validate
from fedssl.base.import_path import ENCODER_FIELDS, dotted_names
from fedssl.base.printable import printable, printable_value
from fedssl.config import LearningConfig
from fedssl.data import DataConfig, Dataset
from fedssl.modalities import MODALITIES, DeviceExamples, Modality, modality_of
from fedssl.models.blueprint import ModelBlueprint
from fedssl.partitions import Partition


@dataclass
class Device:
    """What a device has.

    Parameters
    ----------
    examples : Path
        A folder or file that one of `MODALITIES` opens: of images, say, a folder of files, a list
        of them, or an ``.npz`` file.
    client : int
        Its number in the federation.
    device : torch.device
        Where it trains.
    allowed : Sequence[str]
        Modules of its owner's that the server's config may name by a dotted path.
    """

    examples: Path
    client: int
    device: torch.device
    allowed: Sequence[str] = ()
    _built: tuple[str, ClientRuntime] | None = field(default=None, init=False, repr=False)

    @cached_property
    def modality(self) -> Modality:
        """What its examples are: of the first modality that finds any there."""
        return self._opened[0]

    @cached_property
    def _opened(self) -> tuple[Modality, DeviceExamples]:
        known = list(MODALITIES.values())
        # What holds none of any is opened as the first, whose errors say what is wrong with it.
        modality = next((each for each in known if each.holds(self.examples)), known[0])
        return modality, modality.open_device(self.examples)

    def count(self) -> int:
        """Return how many examples there are.

        Raises
        ------
        ValueError
            There are none, or they cannot be read.
        """
        return self._opened[1].count()

    def describe(self) -> str:
        """Say how many examples of what there are; see `count`."""
        return self.modality.count(self.count())

    def read(self, config: DataConfig) -> Dataset:
        """Return all examples, made what the server asks for.

        Raises
        ------
        ValueError
            They are of another modality than the server's, or cannot be read.
        """
        modality, opened = self._opened
        if modality is not modality_of(config):
            raise ValueError(
                f"--examples {self.examples}: holds {modality.noun[1]}, and the server trains on "
                f"{modality_of(config).noun[1]}"
            )
        return opened.read(config)

    def runtime(self, learning: str) -> ClientRuntime:
        """Return what the device holds to train as ``learning`` says; built once.

        Parameters
        ----------
        learning : str
            From `write_learning`, as it came from the server.

        Raises
        ------
        ConfigError
            The config asks for what this device does not do.
        ValueError
            The examples cannot be read.
        """
        if self._built is None or self._built[0] != learning:
            config = read_learning(learning, self.allowed)
            dataset = self.read(config.data)
            owner = np.full(len(dataset.labels), self.client)
            partition = Partition.of(owner, self.client + 1)
            self._built = learning, ClientRuntime(config, dataset, partition, self.device)
        return self._built[1]


def write_learning(blueprint: ModelBlueprint) -> str:
    """Return what a device needs of a config: nothing of where the server's files lie.

    Parameters
    ----------
    blueprint : ModelBlueprint
        Of the experiment's model.

    Raises
    ------
    ValueError
        Devices cannot train on examples of this modality.
    """
    config = blueprint.config
    kept = config.model_dump(mode="json", include=set(LearningConfig.model_fields))
    kept["data"] = blueprint.modality.device_data(config.data, blueprint.spec)
    # The weights that a run begins with come from the server by message, as in every round.
    kept["model"]["init"] = None
    # A device measures nothing, and may lack the code of the server's own measures.
    kept["evaluation"]["measures"] = []
    # How many clients there are is none of a device's business, and changes while it learns.
    kept["partition"] = {"name": "iid", "clients": 1}
    return json.dumps(kept, sort_keys=True)


def read_learning(learning: str, allowed: Sequence[str] = ()) -> LearningConfig:
    """Read what `write_learning` wrote; what came from outside is not trusted.

    Raises
    ------
    ConfigError
        It is no such config, or names a class that is not fedssl's and not of an allowed module.
    """
    try:
        values: Any = json.loads(learning)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the server's config is no JSON: {error}") from error
    for field_name, path in dotted_names(values):
        # A library's encoder is looked up in its own list, and may have a dot in its name.
        listed = field_name in ENCODER_FIELDS and _is_known(values, path)
        module = "" if listed else path.rpartition(".")[0]
        if module and module not in allowed:
            raise ConfigError(
                f"{printable(field_name, 100)} = {printable_value(path)}: the server asks for a "
                "class that is not part of fedssl; if it is yours, allow it by --allow "
                f"{printable(module, 100)}"
            )
    return validate(LearningConfig, values, base=Path(), source="the server's config")


def _is_known(values: Mapping[str, Any], encoder: str) -> bool:
    """Tell whether an encoder is one that the modality of the server's config knows by name."""
    data = values.get("data")
    name = data.get("modality", "image") if isinstance(data, dict) else None
    modality = MODALITIES.get(name) if isinstance(name, str) else None
    return modality is not None and modality.encoders.builtin(encoder) is not None
