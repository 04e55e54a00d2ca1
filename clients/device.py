"""A device of a real federation: its own images, and the learning that the server asks for."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clients.runtime import ClientRuntime
from fedssl.config import LearningConfig
from fedssl.config_file import ConfigError, validate
from fedssl.data import Dataset
from fedssl.data.files import Decoding, decode_all, resize
from fedssl.data.folder import Folder, list_files
from fedssl.data.npz import read_npz
from fedssl.partitions import Partition

NAMES_CLASSES = ("name", "encoder")
"""The fields by which a config may name a class by a dotted path, which a client would import."""


@dataclass
class Device:
    """What a device has.

    Parameters
    ----------
    images : Path
        A folder of image files, a list of them, or an ``.npz`` file as the data set ``npz`` has.
    client : int
        Its number in the federation.
    device : torch.device
        Where it trains.
    allowed : Sequence[str]
        Modules of its owner's that the server's config may name by a dotted path.
    """

    images: Path
    client: int
    device: torch.device
    allowed: Sequence[str] = ()
    _built: tuple[str, ClientRuntime] | None = field(default=None, init=False, repr=False)

    def count(self) -> int:
        """Return how many images there are.

        Raises
        ------
        ValueError
            There are none, or they cannot be read.
        """
        if self.images.suffix == ".npz":
            return len(read_npz("--images", self.images).labels)
        return len(list_files(self.images, "--images").paths)

    def read(self, size: int, background: str = "white") -> Dataset:
        """Decode all images once, each resized to ``size`` × ``size`` pixels.

        What is transparent lies on ``background``.

        Raises
        ------
        ValueError
            Names the file that is at fault.
        """
        if self.images.suffix == ".npz":
            found = read_npz("--images", self.images)
            assert isinstance(found.images, torch.Tensor)
            images = resize(found.images, size).expand(-1, 3, -1, -1).contiguous()
            return Dataset(images, found.labels, found.class_names, {})
        listing = list_files(self.images, "--images")
        decoding = Decoding(background=background)
        return listing.dataset(decode_all(listing.paths, size, decoding, "--images"))

    def runtime(self, learning: str) -> ClientRuntime:
        """Return what the device holds to train as ``learning`` says; built once.

        Parameters
        ----------
        learning : str
            From `as_text`, as it came from the server.

        Raises
        ------
        ConfigError
            The config asks for what this device does not do.
        ValueError
            The images cannot be read.
        """
        if self._built is None or self._built[0] != learning:
            config = from_text(learning, self.allowed)
            assert config.data.size is not None
            background = config.data.background if isinstance(config.data, Folder) else "white"
            dataset = self.read(config.data.size, background)
            owner = np.full(len(dataset.labels), self.client)
            partition = Partition.of(owner, self.client + 1)
            self._built = learning, ClientRuntime(config, dataset, partition, self.device)
        return self._built[1]


def as_text(config: LearningConfig, size: int) -> str:
    """Return what a device needs of a config: nothing of where the server's files lie.

    Parameters
    ----------
    config : LearningConfig
        The experiment.
    size : int
        The side of the images that the model is made for, in pixels.
    """
    kept = config.model_dump(mode="json", include=set(LearningConfig.model_fields))
    data = {key: kept["data"][key] for key in ("mean", "std")}
    # Left out where it is the default, which devices of older versions take without being told.
    if (background := kept["data"].get("background", "white")) != "white":
        data["background"] = background
    kept["data"] = {"name": "folder", "train": ".", "size": size, **data}
    # The weights that a run begins with come from the server by message, as in every round.
    kept["model"]["init"] = None
    # How many clients there are is none of a device's business, and changes while it learns.
    kept["partition"] = {"name": "iid", "clients": 1}
    return json.dumps(kept, sort_keys=True)


def from_text(learning: str, allowed: Sequence[str] = ()) -> LearningConfig:
    """Read what `as_text` wrote; what came from outside is not trusted.

    Raises
    ------
    ConfigError
        It is no such config, or names a class that is not fedssl's and not of an allowed module.
    """
    try:
        values: Any = json.loads(learning)
    except ValueError as error:
        raise ConfigError(f"the server's config is no JSON: {error}") from error
    for field_name, value in _fields(values):
        # A library's encoder is looked up in its own list, and may have a dot in its name.
        listed = field_name == "model.encoder" and str(value).startswith(("torchvision/", "timm/"))
        module = "" if listed else str(value).rpartition(".")[0]
        if field_name.rpartition(".")[2] in NAMES_CLASSES and module and module not in allowed:
            raise ConfigError(
                f"{field_name} = {value}: the server asks for a class that is not part of "
                f"fedssl; if it is yours, allow it by --allow {module}"
            )
    return validate(LearningConfig, values, base=Path(), source="the server's config")


def _fields(values: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each field of nested sections and its value."""
    if isinstance(values, dict):
        for name, value in values.items():
            yield f"{above}{name}", value
            yield from _fields(value, f"{above}{name}.")
