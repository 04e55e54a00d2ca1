"""The public sets that torchvision downloads and reads."""

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torchvision import datasets

from fedssl.base.fields import File
from fedssl.data.constants import Constants, Spreads
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.listing import Listing
from fedssl.data.select import balanced, hold_out
from fedssl.modalities.image.data.config import ImageData
from fedssl.modalities.image.data.folder import read_files


class Downloaded(ImageData):
    """What torchvision's sets have in common."""

    by_hand: ClassVar[str]
    """Which file to fetch from where, and its place under ``root``."""

    root: File = Path("data")
    """The folder that holds the set, or that it is downloaded to."""
    download: bool = True
    """Download the set where it is not in ``root`` yet."""

    @abstractmethod
    def open(self) -> Splits:
        """Read the set by torchvision."""

    def read(self) -> Splits:
        """Read the set, and say what to do where it is neither there nor to be downloaded."""
        try:
            return self.open()
        except (RuntimeError, OSError) as error:
            raise ValueError(
                f"data.root = {self.root}: {self.name} is not there, and "
                + (f"the download failed ({error})" if self.download else "data.download is false")
                + f"; fetch {self.by_hand.format(root=self.root)} and run again with "
                "data.download: true, which then only unpacks it"
            ) from error


def _dataset(images: np.ndarray, labels: Any, names: list[str]) -> Dataset:
    """Wrap images [N, C, H, W] and their labels."""
    return Dataset(
        torch.from_numpy(images), torch.from_numpy(np.asarray(labels, np.int64)), tuple(names)
    )


class Cifar10(Downloaded):
    """The usual benchmark: 60,000 photographs of 10 kinds of thing, 32×32.

    50,000 for training, 10,000 for testing [1]_.

    References
    ----------
    .. [1] Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """

    by_hand = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz into {root}"

    name: Literal["cifar10"] = "cifar10"
    """This data set."""
    mean: Constants = (0.4914, 0.4822, 0.4465)
    """The published mean of the training images."""
    std: Spreads = (0.2470, 0.2435, 0.2616)
    """The published standard deviation of the training images."""

    def open(self) -> Splits:
        """Read both splits."""
        return _cifar(datasets.CIFAR10, self.root, self.download)


class Cifar100(Downloaded):
    """A harder CIFAR: 60,000 photographs of 100 kinds of thing, 32×32.

    50,000 for training, 10,000 for testing [1]_.

    References
    ----------
    .. [1] Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """

    by_hand = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz into {root}"

    name: Literal["cifar100"] = "cifar100"
    """This data set."""
    mean: Constants = (0.5071, 0.4865, 0.4409)
    """The published mean of the training images."""
    std: Spreads = (0.2673, 0.2564, 0.2762)
    """The published standard deviation of the training images."""

    def open(self) -> Splits:
        """Read both splits."""
        return _cifar(datasets.CIFAR100, self.root, self.download)


def _cifar(source: Callable[..., Any], root: Path, download: bool) -> Splits:
    # torchvision unpickles these batches, and only after each has matched the checksum of the
    # authors' own file: no other pickle gets that far.
    train, test = (source(root, train=train, download=download) for train in (True, False))
    return Splits(
        *(_dataset(s.data.transpose(0, 3, 1, 2), s.targets, s.classes) for s in (train, test))
    )


class Stl10(Downloaded):
    """Made for self-supervised learning: 5,000 labelled and 100,000 unlabelled photographs, 96×96.

    Both are for training; another 8,000 are for testing [1]_. Holds about 6 GB while it is read.

    References
    ----------
    .. [1] Coates, Lee and Ng, "An analysis of single-layer networks in unsupervised feature
       learning", AISTATS 2011.
    """

    by_hand = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz into {root}"

    name: Literal["stl10"] = "stl10"
    """This data set."""
    mean: Constants = (0.4467, 0.4398, 0.4066)
    """The published mean of the training images."""
    std: Spreads = (0.2603, 0.2566, 0.2713)
    """The published standard deviation of the training images."""

    def open(self) -> Splits:
        """Read the labelled and unlabelled training images, and the test images."""
        train, test = (
            datasets.STL10(self.root, split=split, download=self.download)
            for split in ("train+unlabeled", "test")
        )
        return Splits(*(_dataset(s.data, s.labels, s.classes) for s in (train, test)))


class Svhn(Downloaded):
    """Digits in the street: 73,257 house numbers for training, 26,032 for testing, 32×32.

    torchvision reads its files by scipy [1]_.

    References
    ----------
    .. [1] Netzer et al., "Reading digits in natural images with unsupervised feature learning",
       2011.
    """

    by_hand = (
        "train_32x32.mat and test_32x32.mat from http://ufldl.stanford.edu/housenumbers into {root}"
    )

    name: Literal["svhn"] = "svhn"
    """This data set."""
    mean: Constants = (0.4377, 0.4438, 0.4728)
    """The published mean of the training images."""
    std: Spreads = (0.1980, 0.2010, 0.1970)
    """The published standard deviation of the training images."""

    def open(self) -> Splits:
        """Read both splits."""
        names = [str(digit) for digit in range(10)]
        train, test = (
            datasets.SVHN(self.root, split=split, download=self.download)
            for split in ("train", "test")
        )
        return Splits(*(_dataset(s.data, s.labels, names) for s in (train, test)))


class FashionMnist(Downloaded):
    """Small and grey: 60,000 articles of clothing for training, 10,000 for testing, 28×28.

    Ten classes [1]_.

    References
    ----------
    .. [1] Xiao, Rasul and Vollgraf, "Fashion-MNIST", arXiv:1708.07747.
    """

    by_hand = (
        "the four .gz files from http://fashion-mnist.s3-website.eu-central-1.amazonaws.com "
        "into {root}/FashionMNIST/raw"
    )

    name: Literal["fashion_mnist"] = "fashion_mnist"
    """This data set."""
    mean: Constants = (0.2860,)
    """The published mean of the training images."""
    std: Spreads = (0.3530,)
    """The published standard deviation of the training images."""

    def open(self) -> Splits:
        """Read both splits."""
        train, test = (
            datasets.FashionMNIST(self.root, train=train, download=self.download)
            for train in (True, False)
        )
        return Splits(
            *(_dataset(s.data.numpy()[:, None], s.targets, s.classes) for s in (train, test))
        )


class EuroSat(Downloaded):
    """Satellite images: 27,000 views of 10 kinds of land use, 64×64.

    Published without a test split: a fifth of each class is held out, always the same [1]_.

    References
    ----------
    .. [1] Helber et al., "EuroSAT: a novel dataset and deep learning benchmark for land use and
       land cover classification", IEEE JSTARS 2019.
    """

    by_hand = (
        "EuroSAT.zip from https://huggingface.co/datasets/torchgeo/eurosat into {root}/eurosat"
    )

    name: Literal["eurosat"] = "eurosat"
    """This data set."""
    mean: Constants = (0.3444, 0.3803, 0.4078)
    """The mean of all its images, as commonly published."""
    std: Spreads = (0.2037, 0.1367, 0.1152)
    """The standard deviation of all its images, as commonly published."""

    def open(self) -> Splits:
        """Find the files, split them, choose among them by ``limit``, and decode those."""
        source = datasets.EuroSAT(self.root, download=self.download)
        listing = Listing(
            [path for path, _ in source.samples],
            np.array(source.targets, np.int64),
            tuple(source.classes),
            {},
        )
        train, test = (listing.take(index) for index in hold_out(listing.labels))
        return read_files(
            train.take(balanced(train.labels, self.limit.train)),
            test.take(balanced(test.labels, self.limit.test)),
            self.size,
        )
