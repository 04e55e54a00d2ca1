"""Folders of image files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from fedssl.data.config import DataConfig, Limit
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.files import decode_all
from fedssl.data.select import balanced, hold_out
from fedssl.fields import File


class Folder(DataConfig):
    """When the images are files: one folder per class, or per domain and class, or unlabelled.

    The layout is found out: ``root/class/file``; ``root/domain/class/file``, where a natural
    partition may split by ``domain``; or ``root/file``, unlabelled.
    """

    name: Literal["folder"] = "folder"
    """This data set."""
    train: File
    """The folder of the training images."""
    test: File | None = None
    """The folder of the test images, laid out alike; null holds out a fifth of each class."""

    def read(self) -> Splits:
        """Find the files, choose among them by ``limit``, and decode those once each."""
        listing = list_files(self.train, "train")
        if self.test is None:
            kept, held = hold_out(listing.labels)
            if not len(kept) or not len(held):
                raise ValueError(f"data.train = {self.train}: too few images to hold out a fifth")
            train, test = listing.take(kept), listing.take(held)
        else:
            train, test = listing, list_files(self.test, "test")
        return read_files(train, test, self.limit, self.size)


@dataclass(frozen=True)
class Listing:
    """Image files that are not decoded yet."""

    paths: list[Path]
    labels: np.ndarray
    """int64 [N]; -1 where unlabelled."""
    class_names: tuple[str, ...]
    fields: dict[str, np.ndarray]

    def take(self, index: np.ndarray) -> "Listing":
        """Return the files at ``index``."""
        fields = {name: values[index] for name, values in self.fields.items()}
        paths = [self.paths[place] for place in index]
        return Listing(paths, self.labels[index], self.class_names, fields)


def read_files(train: Listing, test: Listing, limit: Limit, size: int | None) -> Splits:
    """Decode what ``limit`` keeps of each listing."""
    train = train.take(balanced(train.labels, limit.train))
    test = test.take(balanced(test.labels, limit.test))
    # Together, so that images of one size in training and another in testing are found out.
    images = decode_all(train.paths + test.paths, size)
    parts = images[: len(train.paths)], images[len(train.paths) :]
    return Splits(
        *(
            Dataset(part, torch.from_numpy(listing.labels), listing.class_names, listing.fields)
            for part, listing in zip(parts, (train, test), strict=True)
        )
    )


def list_files(root: Path, field: str) -> Listing:
    """List the image files under ``root``, sorted by path, and tell its layout.

    Raises
    ------
    ValueError
        There is no such folder, no image in it, or images at different depths.
    """

    def wrong(what: str) -> ValueError:
        return ValueError(f"data.{field} = {root}: {what}")

    if not root.is_dir():
        raise wrong("there is no such folder; correct the path")
    suffixes = Image.registered_extensions()
    paths = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    if not paths:
        raise wrong("no image files in it")
    folders = [path.relative_to(root).parts[:-1] for path in paths]
    depth = len(folders[0])
    for path, parts in zip(paths, folders, strict=True):
        if len(parts) != depth or depth > 2:
            raise wrong(
                f"{path} and {paths[0]} do not fit one layout: use root/class/file, "
                "root/domain/class/file or root/file throughout"
            )
    if depth == 0:
        return Listing(paths, np.full(len(paths), -1), (), {})
    names, labels = np.unique([parts[-1] for parts in folders], return_inverse=True)
    fields = {}
    if depth == 2:
        fields["domain"] = np.unique([parts[0] for parts in folders], return_inverse=True)[1]
    return Listing(paths, labels, tuple(names.tolist()), fields)
