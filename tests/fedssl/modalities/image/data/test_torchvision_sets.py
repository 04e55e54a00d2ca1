"""Torchvision's sets, read from small files in each set's own format on disk."""

import gzip
import hashlib
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from fedssl.data import DataConfig
from fedssl.modalities import load
from fedssl.modalities.image.data.torchvision_sets import (
    Cifar10,
    Cifar100,
    EuroSat,
    FashionMnist,
    Stl10,
    Svhn,
)

DRAWS = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return DRAWS.integers(0, 256, shape).astype(np.uint8)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(
    root: Path, patch: pytest.MonkeyPatch, source: Any, labels: str, names: str
) -> tuple[np.ndarray, np.ndarray]:
    """Write batches of 4 images, and put their checksums where torchvision has the authors'."""
    folder = root / source.base_folder
    folder.mkdir(parents=True)
    images, targets = [], []
    for part in ("train_list", "test_list"):
        entries = []
        for file, _ in getattr(source, part):
            images.append(pixels(4, 3, 32, 32))
            targets.append(DRAWS.integers(0, 3, 4))
            batch = {"data": images[-1].reshape(4, -1), labels: targets[-1].tolist()}
            (folder / file).write_bytes(pickle.dumps(batch))
            entries.append([file, md5(folder / file)])
        patch.setattr(source, part, entries)
    meta = folder / source.meta["filename"]
    meta.write_bytes(pickle.dumps({names: ["ant", "bee", "cow"]}))
    patch.setattr(source, "meta", {**source.meta, "md5": md5(meta)})
    return np.concatenate(images), np.concatenate(targets)


@pytest.mark.parametrize(
    ("config", "source", "labels", "names", "train"),
    [
        (Cifar10, datasets.CIFAR10, "labels", "label_names", 20),
        (Cifar100, datasets.CIFAR100, "fine_labels", "fine_label_names", 4),
    ],
)
def test_cifar(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: Callable[..., DataConfig],
    source: Any,
    labels: str,
    names: str,
    train: int,
) -> None:
    # torchvision looks a subclass's own lists up first, so each class is patched by itself.
    images, targets = write_cifar(tmp_path, monkeypatch, source, labels, names)
    splits = load(config(root=tmp_path, download=False))
    assert np.array_equal(splits.train.fetch().numpy(), images[:train])
    assert np.array_equal(splits.test.fetch().numpy(), images[train:])
    assert splits.train.labels.tolist() == targets[:train].tolist()
    assert splits.test.labels.tolist() == targets[train:].tolist()
    assert splits.train.class_names == ("ant", "bee", "cow")


def test_a_cifar_batch_with_another_checksum_is_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path, monkeypatch, datasets.CIFAR10, "labels", "label_names")
    batch = tmp_path / datasets.CIFAR10.base_folder / "data_batch_3"
    batch.write_bytes(batch.read_bytes() + b" ")

    def unpickle(*_: Any, **__: Any) -> None:
        raise AssertionError("unpickled")

    monkeypatch.setattr(pickle, "load", unpickle)
    with pytest.raises(ValueError, match=r"data\.root = "):
        load(Cifar10(root=tmp_path, download=False))


def test_stl10_is_partly_unlabelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    stored = {
        name: pixels(n, 3, 96, 96) for name, n in (("train", 3), ("unlabeled", 4), ("test", 2))
    }
    for name, images in stored.items():
        images.tofile(folder / f"{name}_X.bin")
    labels = {"train": [1, 10, 3], "test": [2, 2]}
    for name, values in labels.items():
        np.array(values, np.uint8).tofile(folder / f"{name}_y.bin")
    names = [f"thing{number}" for number in range(10)]
    (folder / "class_names.txt").write_text("\n".join(names) + "\n")
    for part in ("train_list", "test_list"):
        entries = [[file, md5(folder / file)] for file, _ in getattr(datasets.STL10, part)]
        monkeypatch.setattr(datasets.STL10, part, entries)
    splits = load(Stl10(root=tmp_path, download=False))
    # On disk the columns come first.
    upright = {name: images.transpose(0, 1, 3, 2) for name, images in stored.items()}
    expected = np.concatenate([upright["train"], upright["unlabeled"]])
    assert np.array_equal(splits.train.fetch().numpy(), expected)
    assert np.array_equal(splits.test.fetch().numpy(), upright["test"])
    assert splits.train.labels.tolist() == [0, 9, 2, -1, -1, -1, -1]
    assert splits.test.labels.tolist() == [1, 1]
    assert splits.train.class_names == tuple(names)


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    images = {"train": pixels(32, 32, 3, 5), "test": pixels(32, 32, 3, 3)}
    labels = {"train": [10, 1, 2, 9, 10], "test": [3, 10, 4]}
    sources = dict(datasets.SVHN.split_list)
    for split in ("train", "test"):
        path = tmp_path / f"{split}_32x32.mat"
        savemat(path, {"X": images[split], "y": np.array(labels[split], np.uint8)[:, None]})
        sources[split] = [*sources[split][:2], md5(path)]
    monkeypatch.setattr(datasets.SVHN, "split_list", sources)
    splits = load(Svhn(root=tmp_path, download=False))
    assert np.array_equal(splits.train.fetch().numpy(), images["train"].transpose(3, 2, 0, 1))
    assert splits.train.labels.tolist() == [0, 1, 2, 9, 0]  # the digit 0 is stored as 10
    assert splits.test.labels.tolist() == [3, 0, 4]
    assert splits.train.class_names[0] == "0"


def test_fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    images = {"train": pixels(6, 28, 28), "t10k": pixels(3, 28, 28)}
    labels = {"train": [0, 9, 1, 2, 2, 5], "t10k": [4, 4, 1]}
    resources = []
    for split, stored in images.items():
        header = struct.pack(">IIII", 2051, len(stored), 28, 28)
        targets = struct.pack(">II", 2049, len(stored)) + bytes(labels[split])
        for file, content in (
            (f"{split}-images-idx3-ubyte.gz", header + stored.tobytes()),
            (f"{split}-labels-idx1-ubyte.gz", targets),
        ):
            (folder / file).write_bytes(gzip.compress(content))
            resources.append((file, md5(folder / file)))
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    splits = load(FashionMnist(root=tmp_path))  # the archives are there: nothing is downloaded
    for channel in range(3):
        assert np.array_equal(splits.train.fetch()[:, channel].numpy(), images["train"])
    assert splits.train.labels.tolist() == labels["train"]
    assert splits.test.labels.tolist() == labels["t10k"]
    assert splits.train.class_names[9] == "Ankle boot"


def test_eurosat_holds_out_a_fifth(tmp_path: Path) -> None:
    stored = {}
    for name in ("Forest", "River"):
        for number in range(10):
            path = tmp_path / "eurosat" / "2750" / name / f"{name}_{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels(64, 64, 3)).save(path)
            with Image.open(path) as image:
                stored[np.asarray(image).transpose(2, 0, 1).tobytes()] = name
    splits = load(EuroSat(root=tmp_path, download=False))
    assert torch.bincount(splits.train.labels).tolist() == [8, 8]
    assert torch.bincount(splits.test.labels).tolist() == [2, 2]
    for part in (splits.train, splits.test):
        for image, label in zip(part.fetch(), part.labels, strict=True):
            assert stored.pop(image.numpy().tobytes()) == part.class_names[int(label)]
    assert not stored


def test_an_archive_put_there_by_hand_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the error message promises, for the three kinds of archive."""
    source = datasets.CIFAR10
    write_cifar(tmp_path / "made", monkeypatch, source, "labels", "label_names")
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "made" / source.base_folder, source.base_folder)
    monkeypatch.setattr(source, "tgz_md5", md5(archive))
    assert len(load(Cifar10(root=tmp_path)).train) == 20

    picture = tmp_path / "x.jpg"
    Image.fromarray(pixels(64, 64, 3)).save(picture)
    (tmp_path / "eurosat").mkdir()
    with zipfile.ZipFile(tmp_path / "eurosat" / "EuroSAT.zip", "w") as zipped:
        for number in range(5):
            zipped.write(picture, f"2750/Forest/{number}.jpg")
    from torchvision.datasets import eurosat

    unpack = eurosat.download_and_extract_archive
    mine = md5(tmp_path / "eurosat" / "EuroSAT.zip")

    def with_my_checksum(url: str, download_root: str, md5: str) -> None:
        unpack(url, download_root, md5=mine)

    monkeypatch.setattr(eurosat, "download_and_extract_archive", with_my_checksum)
    assert len(load(EuroSat(root=tmp_path)).train) == 4


SETS = [Cifar10, Cifar100, Stl10, Svhn, FashionMnist, EuroSat]


@pytest.mark.parametrize("config", SETS)
def test_what_is_missing_is_told_with_the_way_out(
    tmp_path: Path, config: Callable[..., DataConfig]
) -> None:
    with pytest.raises(
        ValueError, match=rf"data\.root = {tmp_path}: .*data\.download is false; fetch .*{tmp_path}"
    ):
        load(config(root=tmp_path, download=False))


@pytest.mark.parametrize("config", SETS)
def test_a_failed_download_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Callable[..., DataConfig]
) -> None:
    from torchvision.datasets import utils

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(utils.urllib.request, "urlopen", offline)
    with pytest.raises(ValueError, match=r"data\.root = .*the download failed .*; fetch .*http"):
        load(config(root=tmp_path))
