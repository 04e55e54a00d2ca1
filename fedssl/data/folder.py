"""Folders of image files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from PIL import Image
from pydantic import model_validator

from fedssl.data.config import DataConfig, Limit
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.files import decode_all
from fedssl.data.on_demand import Files, Images
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
    in_memory: bool = True
    """Decode every image once, at the start; false decodes a client's whenever it trains, for sets
    that memory cannot hold, and needs `size`."""

    @model_validator(mode="after")
    def _size_is_known(self) -> Self:
        if not self.in_memory and self.size is None:
            raise ValueError(
                "in_memory = false needs data.size: give the side of the images in pixels"
            )
        return self

    def read(self) -> Splits:
        """Find the files; those that ``limit`` keeps are decoded now, or else on demand."""
        listing = list_files(self.train, "data.train")
        if self.test is None:
            kept, held = hold_out(listing.labels)
            if not len(kept) or not len(held):
                raise ValueError(f"data.train = {self.train}: too few images to hold out a fifth")
            train, test = listing.take(kept), listing.take(held)
        else:
            train, test = listing, list_files(self.test, "data.test")
        if self.in_memory:
            return read_files(train, test, self.limit, self.size)
        assert self.size is not None
        return Splits(*(x.dataset(Files(x.paths, self.size)) for x in (train, test)))


@dataclass(frozen=True)
class Listing:
    """Image files that are not decoded yet."""

    paths: list[str]
    labels: np.ndarray
    """int64 [N]; -1 where unlabelled."""
    class_names: tuple[str, ...]
    fields: dict[str, np.ndarray]

    def take(self, index: np.ndarray) -> "Listing":
        """Return the files at ``index``."""
        fields = {name: values[index] for name, values in self.fields.items()}
        paths = [self.paths[place] for place in index]
        return Listing(paths, self.labels[index], self.class_names, fields)

    def dataset(self, images: Images) -> Dataset:
        """Return the files' images with what is known of them."""
        return Dataset(images, torch.from_numpy(self.labels), self.class_names, self.fields)


def read_files(train: Listing, test: Listing, limit: Limit, size: int | None) -> Splits:
    """Decode what ``limit`` keeps of each listing."""
    train = train.take(balanced(train.labels, limit.train))
    test = test.take(balanced(test.labels, limit.test))
    # Together, so that images of one size in training and another in testing are found out.
    images = decode_all(train.paths + test.paths, size)
    parts = images[: len(train.paths)], images[len(train.paths) :]
    return Splits(*(x.dataset(part) for x, part in zip((train, test), parts, strict=True)))


def list_files(root: Path, what: str) -> Listing:
    """List the image files under ``root``, sorted by path, and tell its layout.

    ``what`` is what errors call the folder.

    Raises
    ------
    ValueError
        There is no such folder, no image in it, or images at different depths.
    """

    def wrong(problem: str) -> ValueError:
        return ValueError(f"{what} = {root}: {problem}")

    if not root.is_dir():
        raise wrong("there is no such folder; correct the path")
    folders = list(_walk(str(root), (), set(Image.registered_extensions())))
    if not folders:
        raise wrong("no image files in it")
    depth, first = len(folders[0][0]), folders[0][1][0]
    for parts, files in folders:
        if len(parts) != depth or depth > 2:
            raise wrong(
                f"{files[0]} and {first} do not fit one layout: use root/class/file, "
                "root/domain/class/file or root/file throughout"
            )
    paths = [path for _, files in folders for path in files]
    if depth == 0:
        return Listing(paths, np.full(len(paths), -1), (), {})
    sizes = [len(files) for _, files in folders]
    names, labels = np.unique([parts[-1] for parts, _ in folders], return_inverse=True)
    fields = {}
    if depth == 2:
        domains = np.unique([parts[0] for parts, _ in folders], return_inverse=True)[1]
        fields["domain"] = np.repeat(domains, sizes)
    return Listing(paths, np.repeat(labels, sizes), tuple(names.tolist()), fields)


def _walk(
    folder: str, parts: tuple[str, ...], suffixes: set[str]
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield each folder's names below the root and its image files, sorted, but nothing hidden.

    Plain strings, since there may be millions of files.
    """
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif os.path.splitext(entry.name)[1].lower() in suffixes:
                files.append(entry.path)
    if files:
        yield parts, sorted(files)
    for name in sorted(folders):
        yield from _walk(os.path.join(folder, name), (*parts, name), suffixes)
