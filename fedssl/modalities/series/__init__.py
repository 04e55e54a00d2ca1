"""Series: float32 [N, C, T], in which NaN is a value that is not there."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from fedssl.data.arrays import write_archive
from fedssl.data.config import DataConfig
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.base import Modality
from fedssl.modalities.series.data.config import OwnSeries, SeriesData
from fedssl.modalities.series.data.fitting import check, fit_splits
from fedssl.modalities.series.data.folder import SeriesCsv
from fedssl.modalities.series.data.npz import SeriesNpz
from fedssl.modalities.series.data.ts import SeriesTs
from fedssl.modalities.series.data.waves import Waves
from fedssl.modalities.series.device import DeviceSeries, holds_series
from fedssl.modalities.series.encoders import ENCODERS
from fedssl.modalities.series.model import SeriesModel
from fedssl.modalities.series.preparation import Standardisation
from fedssl.modalities.series.views.policies import POLICIES, STEPS
from fedssl.views.recipe import Change, Recipe
from fedssl.views.step import Step

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SeriesModality(Modality):
    """Series of one channel or more, step by step: float32 [N, C, T], NaN where nothing is."""

    name = "series"
    noun = ("series", "series")
    dtype = torch.float32
    dimensions = 2
    data = (
        Waves,
        SeriesNpz,
        SeriesCsv,
        SeriesTs,
    )
    own_data = OwnSeries
    model = SeriesModel
    encoders = ENCODERS
    steps = STEPS
    policies = POLICIES
    weak_policy = "weak"
    # A mean of two series is a series: it is not there where either is not.
    mixes = True

    def check(self, dataset: Dataset, where: str) -> None:
        """Refuse what is not float32 [N, C, T], what is infinite, and series that are all NaN."""
        check(dataset, where)

    def fit(
        self, config: DataConfig, splits: Splits, rows: tuple[np.ndarray, np.ndarray], where: str
    ) -> tuple[Dataset, Dataset]:
        """Cut series to ``data.length``, or fill them up with NaN."""
        return fit_splits(cast(SeriesData, config), splits, rows, where)

    def preparation(self, config: DataConfig) -> Standardisation:
        """Standardise by ``data.mean`` and ``data.std``."""
        data = cast(SeriesData, config)
        return Standardisation(data.mean, data.std)

    def views(self, steps: Sequence[Step], config: DataConfig) -> Recipe:
        """Return a series' steps one after the other."""
        prepare = self.preparation(config)
        return Recipe(cast(Sequence[Change], steps), prepare, prepare.spec_of)

    def holds(self, path: Path) -> bool:
        """Tell whether it is an archive of series, a ``.ts`` file, or a folder of text files."""
        return holds_series(path)

    def open_device(self, path: Path) -> DeviceSeries:
        """Open an ``.npz`` file of series, a ``.ts`` file, or a folder of CSV files."""
        return DeviceSeries(path)

    def write_device(self, dataset: Dataset, path: Path) -> Path:
        """Write an ``.npz`` file."""
        return write_archive(dataset, "series", dataset.fetch().numpy(), path)

    def device_data(self, config: DataConfig, spec: ExampleSpec) -> dict[str, object]:
        """Say the length of series, and how they are standardised."""
        data = cast(SeriesData, config)
        return {
            "name": "series-csv",
            "train": ".",
            "length": spec.shape[-1],
            "mean": data.mean,
            "std": data.std,
        }

    def sheet(self, examples: Tensor, views: Sequence[Tensor], config: DataConfig) -> "Figure":
        """Draw a column of series, and one for each of their views."""
        # Here, since the drawing library is slow to start, and clients never draw.
        from fedssl.modalities.series.sheet import draw_sheet

        return draw_sheet(examples, views, self.preparation(config))


SERIES = SeriesModality()
