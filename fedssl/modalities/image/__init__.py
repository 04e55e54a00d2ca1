"""Images: uint8 [N, 3, H, W]."""

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
from fedssl.modalities.image.data.config import ImageData, OwnImages
from fedssl.modalities.image.data.fitting import check, fit_splits
from fedssl.modalities.image.data.folder import Folder
from fedssl.modalities.image.data.glyphs import Glyphs
from fedssl.modalities.image.data.npz import Npz
from fedssl.modalities.image.data.torchvision_sets import (
    Cifar10,
    Cifar100,
    EuroSat,
    FashionMnist,
    Stl10,
    Svhn,
)
from fedssl.modalities.image.device import DeviceImages, holds_images
from fedssl.modalities.image.encoders import ENCODERS
from fedssl.modalities.image.export import FORMATS
from fedssl.modalities.image.model import ImageModel
from fedssl.modalities.image.preparation import Normalisation
from fedssl.modalities.image.turns import small_four_ways
from fedssl.modalities.image.views.policies import POLICIES, STEPS
from fedssl.modalities.image.views.recipe import Views
from fedssl.modalities.image.views.step import ImageStep
from fedssl.views.step import Step

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ImageModality(Modality):
    """Images, red, green and blue: uint8 [N, 3, H, W]."""

    name = "image"
    noun = ("image", "images")
    dtype = torch.uint8
    dimensions = 3
    data = (
        Glyphs,
        Npz,
        Folder,
        Cifar10,
        Cifar100,
        Stl10,
        Svhn,
        FashionMnist,
        EuroSat,
    )
    own_data = OwnImages
    model = ImageModel
    encoders = ENCODERS
    steps = STEPS
    step = ImageStep
    policies = POLICIES
    weak_policy = "weak"
    mixes = True
    turns = True
    formats = FORMATS

    def check(self, dataset: Dataset, where: str) -> None:
        """Refuse what is not uint8 [N, 1 or 3, H, W]."""
        check(dataset, where)

    def fit(
        self, config: DataConfig, splits: Splits, rows: tuple[np.ndarray, np.ndarray], where: str
    ) -> tuple[Dataset, Dataset]:
        """Resize to ``data.size``, and make three channels of one."""
        return fit_splits(splits, rows, cast(ImageData, config).size, where)

    def preparation(self, config: DataConfig) -> Normalisation:
        """Normalise by ``data.mean`` and ``data.std``."""
        data = cast(ImageData, config)
        return Normalisation(data.mean, data.std)

    def views(self, steps: Sequence[Step], config: DataConfig) -> Views:
        """Return torchvision's transforms, a batch at a time."""
        data = cast(ImageData, config)
        return Views(steps, data.mean, data.std)

    def turned(self, views: Tensor) -> Tensor:
        """Return views turned by 0, 90, 180 and 270 degrees, at half the resolution."""
        return small_four_ways(views)

    def holds(self, path: Path) -> bool:
        """Tell whether there are image files, or an archive of images."""
        return holds_images(path)

    def open_device(self, path: Path) -> DeviceImages:
        """Open a folder of image files, a list of them, or an ``.npz`` file."""
        return DeviceImages(path)

    def write_device(self, dataset: Dataset, path: Path) -> Path:
        """Write an ``.npz`` file."""
        images = dataset.fetch().permute(0, 2, 3, 1).numpy()
        return write_archive(dataset, "images", images, path)

    def device_data(self, config: DataConfig, spec: ExampleSpec) -> dict[str, object]:
        """Say the size of images, and how they are normalised."""
        own = cast(ImageData, config)
        data = {
            "name": "folder",
            "train": ".",
            "size": spec.shape[-1],
            "mean": own.mean,
            "std": own.std,
        }
        # Left out where it is the default, which devices of older versions take without being told.
        if isinstance(own, Folder) and own.background != "white":
            data["background"] = own.background
        return data

    def sheet(self, examples: Tensor, views: Sequence[Tensor], config: DataConfig) -> "Figure":
        """Draw a column of images, and one for each of their views."""
        # Here, since the drawing library is slow to start, and clients never draw.
        from fedssl.modalities.image.sheet import draw_sheet

        return draw_sheet(examples, views, self.preparation(config))


IMAGE = ImageModality()
