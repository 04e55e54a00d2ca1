"""The images of a device."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from fedssl.data.archive import Archive
from fedssl.data.config import DataConfig
from fedssl.data.dataset import Dataset
from fedssl.data.walking import walk
from fedssl.modalities.image.data.config import ImageData
from fedssl.modalities.image.data.files import Decoding, decode_all, resize
from fedssl.modalities.image.data.folder import Folder, list_files
from fedssl.modalities.image.data.kinds import IMAGE_FILES
from fedssl.modalities.image.data.npz import read_npz


def holds_images(path: Path) -> bool:
    """Tell whether a path is an archive that has images, or a folder with any in it."""
    if path.is_dir():
        found = walk(str(path), IMAGE_FILES)
        return bool(found.folders or found.bad)
    if path.suffix != ".npz":
        return False
    try:
        with Archive(path, ValueError) as archive:
            return not {"images", "train_images"}.isdisjoint(archive.members)
    except ValueError:
        return False


@dataclass(frozen=True)
class DeviceImages:
    """A folder of image files, a list of them, or an ``.npz`` file as the data set ``npz`` has."""

    path: Path

    def count(self) -> int:
        """Return how many images there are; a ValueError says that there are none, or why not."""
        if self.path.suffix == ".npz":
            return len(read_npz("--examples", self.path).labels)
        return len(list_files(self.path, "--examples").paths)

    def read(self, config: DataConfig) -> Dataset:
        """Decode all images once, each resized to ``data.size``.

        What is transparent lies on ``data.background``. A ValueError names the file at fault.
        """
        if (size := cast(ImageData, config).size) is None:
            raise ValueError("data.size = null: the server must say how large images are")
        background = config.background if isinstance(config, Folder) else "white"
        if self.path.suffix == ".npz":
            found = read_npz("--examples", self.path)
            assert isinstance(found.examples, torch.Tensor)
            images = resize(found.examples, size).expand(-1, 3, -1, -1).contiguous()
            return Dataset(images, found.labels, found.class_names, {})
        listing = list_files(self.path, "--examples")
        decoding = Decoding(background=background)
        return listing.dataset(decode_all(listing.paths, size, decoding, "--examples"))
