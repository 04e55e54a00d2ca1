"""The series of a device."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from fedssl.data.archive import Archive
from fedssl.data.config import DataConfig
from fedssl.data.dataset import Dataset
from fedssl.data.walking import walk
from fedssl.modalities.series.data.config import SeriesData
from fedssl.modalities.series.data.files import SERIES_FILES
from fedssl.modalities.series.data.fitting import check_channels, check_memory, fit
from fedssl.modalities.series.data.folder import list_files, read_listing
from fedssl.modalities.series.data.npz import KEYS, read_npz
from fedssl.modalities.series.data.ts import read_ts


def holds_series(path: Path) -> bool:
    """Tell whether a path is an archive of series, a ``.ts`` file, or a folder of text files."""
    if path.is_dir():
        return bool(walk(str(path), SERIES_FILES).folders)
    if path.suffix.lower() == ".npz":
        try:
            with Archive(path, ValueError) as archive:
                return any(
                    f"{split}{key}" in archive.members for split in ("", "train_") for key in KEYS
                )
        except ValueError:
            return False
    return path.suffix.lower() == ".ts"


@dataclass(frozen=True)
class DeviceSeries:
    """An ``.npz`` file as the data set series-npz has, a ``.ts`` file, or a folder of CSV files."""

    path: Path

    def count(self) -> int:
        """Return how many series there are; a ValueError says that there are none, or why not."""
        if self.path.is_dir():
            return len(list_files(self.path, "--examples").paths)
        # Cut to a step, since only their number is asked for.
        return len(self._file(1))

    def read(self, config: DataConfig) -> Dataset:
        """Read all series, each cut or filled up to ``data.length``.

        A ValueError names the file at fault.
        """
        own = cast(SeriesData, config)
        if (length := own.length) is None:
            raise ValueError("data.length = null: the server must say how long series are")
        if self.path.is_dir():
            found = read_listing(list_files(self.path, "--examples"), length, "--examples")
        else:
            found = self._file(length)
        assert isinstance(found.examples, torch.Tensor)
        check_channels(own, found.shape[0])
        # The server says the length, and may ask for more than there is memory.
        check_memory(len(found), found.shape[0], length, f"--examples = {self.path}")
        series = fit(found.examples, length)
        return Dataset(series, found.labels, found.class_names, {})

    def _file(self, length: int | None) -> Dataset:
        if self.path.suffix.lower() == ".npz":
            return read_npz("--examples", self.path, length)
        file = read_ts("--examples", self.path)
        return file.dataset(file.class_names, length)
