"""A pair of numpy archives."""

import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from fedssl.data.config import DataConfig
from fedssl.data.dataset import Dataset, Splits
from fedssl.fields import File


class Npz(DataConfig):
    """When the images are numpy arrays: an .npz file for training and one for testing.

    Each holds ``images`` (uint8 [N, H, W, C] or [N, H, W]) and may hold ``labels`` (integers [N],
    -1 for none), ``class_names`` (strings [C]) and further columns of integers or strings [N],
    such as ``writer``, which a natural partition may split by.
    """

    name: Literal["npz"] = "npz"
    """This data set."""
    train: File
    """The .npz file of the training images."""
    test: File
    """The .npz file of the test images."""

    def read(self) -> Splits:
        """Read both files."""
        train, test = _arrays("data.train", self.train), _arrays("data.test", self.test)
        names = _class_names(train, test)
        return Splits(_dataset(train, names), _dataset(test, names))


def read_npz(what: str, path: Path) -> Dataset:
    """Read one file; ``what`` is what errors call it.

    Raises
    ------
    ValueError
        It is missing, or not what `Npz` says.
    """
    arrays = _arrays(what, path)
    return _dataset(arrays, _class_names(arrays))


def _arrays(what: str, path: Path) -> dict[str, np.ndarray]:
    """Read and check one file."""

    def wrong(problem: str) -> ValueError:
        return ValueError(f"{what} = {path}: {problem}")

    if not path.is_file():
        raise wrong(
            "there is no such file; write one with numpy.savez(path, images=..., labels=...), "
            "or correct the path"
        )
    try:
        # Never pickles: an array of Python objects could run anyone's code.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise wrong(f"not an .npz file of plain arrays ({error})") from None
    if "images" not in arrays:
        raise wrong(f"has no array `images`, only {', '.join(arrays) or 'nothing'}")
    images = arrays["images"]
    if images.dtype != np.uint8:
        raise wrong(f"`images` is {images.dtype}: store uint8, 0 to 255")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise wrong(
            f"`images` has the shape {list(arrays['images'].shape)}: it must be [N, H, W, 3], "
            "[N, H, W, 1] or [N, H, W]"
        )
    arrays["images"] = images
    arrays.setdefault("labels", np.full(len(images), -1))
    if arrays["labels"].dtype.kind not in "iu":
        raise wrong(f"`labels` is {arrays['labels'].dtype}: store integers, -1 for no label")
    for name, values in arrays.items():
        if name in ("images", "class_names"):
            continue
        if values.dtype.kind not in "iuU":
            raise wrong(f"`{name}` is {values.dtype}: a column must hold integers or strings")
        if values.shape != (len(images),):
            raise wrong(
                f"`{name}` has the shape {list(values.shape)}, but there are {len(images)} images"
            )
    if "class_names" in arrays and (
        arrays["class_names"].dtype.kind != "U" or arrays["class_names"].ndim != 1
    ):
        raise wrong("`class_names` must be a list of strings")
    return arrays


def _class_names(*files: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Return the names given, or else the labels themselves as names."""
    for arrays in files:
        if "class_names" in arrays:
            return tuple(arrays["class_names"].tolist())
    return tuple(map(str, range(max(int(arrays["labels"].max()) for arrays in files) + 1)))


def _dataset(arrays: dict[str, np.ndarray], names: tuple[str, ...]) -> Dataset:
    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2)
    labels = torch.from_numpy(arrays["labels"].astype(np.int64))
    own = tuple(arrays.get("class_names", np.array(names)).tolist())
    fields = {
        name: np.unique(values, return_inverse=True)[1] if values.dtype.kind == "U" else values
        for name, values in arrays.items()
        if name not in ("images", "labels", "class_names")
    }
    return Dataset(
        images, labels, own, {name: values.astype(np.int64) for name, values in fields.items()}
    )
