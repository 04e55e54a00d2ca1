"""A device of a federation: its examples, and the training that the server's config requests."""

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
    """A device with its own examples.

    Parameters
    ----------
    examples : Path
        A folder or file that one of `MODALITIES` opens: of images, say, a folder of files, a list
        of them, or an ``.npz`` file.
    client : int
        The client's number in the federation.
    device : torch.device
        The PyTorch device on which it trains.
    allowed : Sequence[str]
        Modules outside fedssl that the server's config may name by a dotted path.
    """

    examples: Path
    client: int
    device: torch.device
    allowed: Sequence[str] = ()
    _built: tuple[str, ClientRuntime] | None = field(default=None, init=False, repr=False)

    @cached_property
    def modality(self) -> Modality:
        """The modality of its examples: the first one that finds any."""
        return self._opened[0]

    @cached_property
    def _opened(self) -> tuple[Modality, DeviceExamples]:
        modalities = list(MODALITIES.values())
        # A path without any examples is opened as the first modality, whose errors explain it.
        modality = next((m for m in modalities if m.holds(self.examples)), modalities[0])
        return modality, modality.open_device(self.examples)

    def count(self) -> int:
        """Return the number of examples.

        Raises
        ------
        ValueError
            There are no examples, or they cannot be read.
        """
        return self._opened[1].count()

    def describe(self) -> str:
        """Return the number of examples in words, such as "12 images"; see `count`."""
        return self.modality.count(self.count())

    def read(self, config: DataConfig) -> Dataset:
        """Return all examples, prepared as the server's config requests.

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
        """Return the runtime that trains by a learning config; it is built once for each config.

        Parameters
        ----------
        learning : str
            The text from `write_learning`, as it came from the server.

        Raises
        ------
        ConfigError
            The config requests something that this device does not allow.
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
    """Return the part of a config that devices need, as JSON, without the server's paths.

    Parameters
    ----------
    blueprint : ModelBlueprint
        The blueprint of the experiment's model.

    Raises
    ------
    ValueError
        Devices cannot train on examples of this modality.
    """
    config = blueprint.config
    learning = config.model_dump(mode="json", include=set(LearningConfig.model_fields))
    learning["data"] = blueprint.modality.device_data(config.data, blueprint.spec)
    # The weights that a run begins with come from the server by message, as in every round.
    learning["model"]["init"] = None
    # A device evaluates nothing, and may lack the code of the server's measures.
    learning["evaluation"]["measures"] = []
    # The number of clients may change while a device trains, and devices do not need it.
    learning["partition"] = {"name": "iid", "clients": 1}
    return json.dumps(learning, sort_keys=True)


def read_learning(learning: str, allowed: Sequence[str] = ()) -> LearningConfig:
    """Read a config from `write_learning`; the text is not trusted.

    Raises
    ------
    ConfigError
        The config is invalid, or names a class that is neither of fedssl nor of an allowed module.
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
    """Return whether the modality of the server's config knows an encoder by this name."""
    data = values.get("data")
    name = data.get("modality", "image") if isinstance(data, dict) else None
    modality = MODALITIES.get(name) if isinstance(name, str) else None
    return modality is not None and modality.encoders.builtin(encoder) is not None
