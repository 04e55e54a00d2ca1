"""The image sets: what they are called, and how they are loaded."""

from fedssl.data.config import DataConfig, Limit
from fedssl.data.custom import CustomData
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.folder import Folder
from fedssl.data.glyphs import Glyphs
from fedssl.data.loading import load
from fedssl.data.npz import Npz
from fedssl.data.on_demand import Images
from fedssl.data.torchvision_sets import Cifar10, Cifar100, EuroSat, FashionMnist, Stl10, Svhn
from fedssl.fields import Choice

DATASETS: dict[str, type[DataConfig]] = {
    "glyphs": Glyphs,
    "npz": Npz,
    "folder": Folder,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "stl10": Stl10,
    "svhn": Svhn,
    "fashion_mnist": FashionMnist,
    "eurosat": EuroSat,
}
"""The data sets by the name that a config gives them."""

DataChoice = Choice(DATASETS, CustomData)
"""Picks the set's own fields by name: ``data: Annotated[DataConfig, DataChoice]``."""

__all__ = ["DATASETS", "DataChoice", "DataConfig", "Dataset", "Images", "Limit", "Splits", "load"]
