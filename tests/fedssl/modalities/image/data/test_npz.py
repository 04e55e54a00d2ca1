"""Reading .npz files."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedssl.modalities import load
from fedssl.modalities.image.data.glyphs import Glyphs
from fedssl.modalities.image.data.npz import Npz

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.int32)


def written(folder: Path, train: dict[str, Any], test: dict[str, Any] | None = None) -> Npz:
    np.savez(folder / "train.npz", **train)
    np.savez(
        folder / "test.npz", **({"images": IMAGES, "labels": LABELS} if test is None else test)
    )
    return Npz(train=folder / "train.npz", test=folder / "test.npz")


def test_images_labels_and_columns_come_back(tmp_path: Path) -> None:
    columns = {
        "writer": np.array(["zoe", "abe", "zoe", "kim", "abe", "kim"]),
        "camera": np.array([7, 7, 1, 1, 4, 4], np.uint8),
    }
    train = {"images": IMAGES, "labels": LABELS, "class_names": ["cat", "dog", "eel"], **columns}
    test = {"images": IMAGES[:2], "labels": LABELS[:2], "class_names": ["cat", "dog", "eel"]}
    splits = load(written(tmp_path, train, test))
    assert np.array_equal(splits.train.fetch().permute(0, 2, 3, 1).numpy(), IMAGES)
    assert splits.train.labels.tolist() == LABELS.tolist()
    assert splits.train.class_names == splits.test.class_names == ("cat", "dog", "eel")
    assert splits.train.fields["writer"].tolist() == [2, 0, 2, 1, 0, 1]
    assert splits.train.fields["camera"].tolist() == [7, 7, 1, 1, 4, 4]
    assert all(values.dtype == np.int64 for values in splits.train.fields.values())
    assert len(splits.test) == 2


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 4, 1)])
def test_grey_images_are_replicated(tmp_path: Path, shape: tuple[int, ...]) -> None:
    grey = IMAGES[..., 0].reshape(shape)
    images = load(written(tmp_path, {"images": grey, "labels": LABELS})).train.fetch()
    assert images.shape == (6, 3, 5, 4)
    assert all(np.array_equal(images[:, c].numpy(), IMAGES[..., 0]) for c in range(3))


def test_without_labels_nothing_is_labelled(tmp_path: Path) -> None:
    splits = load(written(tmp_path, {"images": IMAGES}, {"images": IMAGES}))
    assert splits.train.labels.tolist() == [-1] * 6
    assert splits.train.class_names == ()


def test_labels_name_themselves_and_train_may_lack_some(tmp_path: Path) -> None:
    splits = load(written(tmp_path, {"images": IMAGES, "labels": np.full(6, -1)}))
    assert splits.train.class_names == splits.test.class_names == ("0", "1", "2")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    config = written(tmp_path, {"images": IMAGES})
    gone = config.model_copy(update={"test": tmp_path / "gone.npz"})
    with pytest.raises(ValueError, match=r"data\.test = .*gone\.npz: there is no such file; write"):
        load(gone)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": LABELS}, r"no array `images` \(nor `train_images`\), only labels"),
        ({"images": IMAGES.astype(np.float32)}, "`images` is float32: store uint8"),
        ({"images": IMAGES[..., :2]}, r"shape \[6, 5, 4, 2\]"),
        ({"images": IMAGES[0, 0]}, r"shape \[4, 3\]"),
        ({"images": IMAGES[:0]}, r"shape \[0, 5, 4, 3\]"),
        (
            {"images": IMAGES, "labels": LABELS[:5]},
            r"`labels` has the shape \[5\], but there are 6",
        ),
        ({"images": IMAGES, "labels": LABELS / 2}, "`labels` is float64: store integers"),
        ({"images": IMAGES, "labels": LABELS.astype(str)}, "numbers in one file and names in the"),
        ({"images": IMAGES, "labels": LABELS.astype(bytes)}, r"`labels` is \|S11: store integers"),
        ({"images": IMAGES, "weight": LABELS / 2}, "`weight` is float64: a column must hold"),
        ({"images": IMAGES, "writer": LABELS[None]}, r"`writer` has the shape \[1, 6\]"),
        ({"images": IMAGES, "class_names": LABELS}, "`class_names` must be a list of strings"),
        (
            {"images": IMAGES, "labels": LABELS, "class_names": ["a", "b"]},
            "labels go from 0 to 2, but there are 2 class names",
        ),
        ({"images": np.array([{}, {}], object)}, "not an .npz file of plain arrays"),
    ],
)
def test_what_is_malformed_is_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(written(tmp_path, arrays))


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 half an archive"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    config = written(tmp_path, {"images": IMAGES})
    config.train.write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.train = .*: not an \.npz file"):
        load(config)


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    config = written(tmp_path, {"images": IMAGES})
    with config.train.open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(ValueError, match=r"data\.train = .*: not an \.npz file"):
        load(config)


def test_one_file_may_hold_all_splits_as_medmnist_does(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {f"{split}_images": IMAGES for split in ("train", "val", "test")}
    labels: dict[str, Any] = {
        f"{split}_labels": LABELS[:, None] for split in ("train", "val", "test")
    }
    path = tmp_path / "pathmnist.npz"
    arrays["test_images"] = IMAGES[::-1]
    np.savez_compressed(path, **arrays, **labels)
    for test in (None, path):
        splits = load(Npz(train=path, test=test))
        assert splits.train.labels.tolist() == LABELS.tolist()
        assert np.array_equal(splits.train.fetch().permute(0, 2, 3, 1).numpy(), IMAGES)
        assert np.array_equal(splits.test.fetch().permute(0, 2, 3, 1).numpy(), IMAGES[::-1])
        assert splits.notes == (
            "data.train: read from `train_images`: 6 images",
            "data.test: read from `test_images`: 6 images",
            "data.test: `val_images` is not used",
        )
    del arrays["test_images"]
    np.savez(path, **arrays, **labels)
    with pytest.raises(ValueError, match=r"data\.test = .*no array `images` \(nor `test_images`\)"):
        load(Npz(train=path))


def test_without_a_test_file_a_fifth_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "all.npz"
    np.savez(path, images=np.repeat(IMAGES, 5, 0), labels=np.repeat(LABELS, 5))
    splits = load(Npz(train=path))
    assert (len(splits.train), len(splits.test)) == (24, 6)
    assert splits.test.labels.bincount().tolist() == [2, 2, 2]
    assert splits.notes == ("data.test: null, so a fifth of data.train is held out: 6 images",)
    np.savez(path, images=IMAGES[:2])
    with pytest.raises(ValueError, match="too few images to hold out a fifth"):
        load(Npz(train=path))


def test_labels_may_be_names(tmp_path: Path) -> None:
    train = {"images": IMAGES, "labels": ["dog", "cat", "", "dog", "cat", "eel"]}
    test = {"images": IMAGES[:2], "labels": ["cat", "fox"]}
    splits = load(written(tmp_path, train, test))
    assert splits.train.class_names == splits.test.class_names == ("cat", "dog", "eel", "fox")
    assert splits.train.labels.tolist() == [1, 0, -1, 1, 0, 2]
    assert splits.test.labels.tolist() == [0, 3]
    named = {**train, "class_names": ["eel", "dog", "cat", "fox"]}
    splits = load(written(tmp_path, named, test))
    assert splits.train.labels.tolist() == [1, 2, -1, 1, 2, 0]
    with pytest.raises(ValueError, match=r"`labels` has 'dog', which is not among `class_names`"):
        load(written(tmp_path, {**train, "class_names": ["cat"]}, test))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([2**31] * 6), r"`labels` go from 2147483648 to 2147483648: use 0 to"),
        (np.array([2**63 + 5] * 6, np.uint64), r"`labels` go from 9223372036854775813"),
        (np.array([-(2**63)] * 6), r"`labels` go from -9223372036854775808"),
        (np.zeros((6, 14), int), r"shape \[6, 14\], but there are 6 images: one label for each"),
        (np.zeros(6, "V0"), "not an .npz file|claims the shape|store integers"),
    ],
)
def test_labels_out_of_range_are_refused(tmp_path: Path, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(written(tmp_path, {"images": IMAGES, "labels": labels}))


def member(shape: str, content: bytes = b"", descr: str = "'|u1'") -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            member("(1000000000000, 1, 1, 3)"),
            r"claims the shape \[1000000000000, 1, 1, 3\] of uint8",
        ),
        (member("(2, 1, 1, 3)", b"12345"), "but the file has 5 bytes of it"),
        (member("(-1, -6)", b"123456"), r"claims the shape \[-1, -6\]"),
        (member("(9, 9)", descr="'|V0'"), "claims the shape"),
        (member("(1,)", b"12345678", descr="'|O'"), "Object arrays cannot be loaded"),
        (member("(" * 4000), "not an .npz file of plain arrays"),
        (b"\x93NUMPY\x09\x00", "not an .npz file of plain arrays"),
        (b"", "not an .npz file of plain arrays"),
    ],
)
def test_what_an_array_claims_is_checked_before_it_is_read(
    tmp_path: Path, content: bytes, message: str
) -> None:
    config = written(tmp_path, {"images": IMAGES})
    for name in ("images.npy", "labels.npy"):
        with zipfile.ZipFile(config.train, "w") as archive:
            if name != "images.npy":
                archive.writestr("images.npy", member("(1, 1, 1, 3)", b"123"))
            archive.writestr(name, content)
        with pytest.raises(ValueError, match=message):
            load(config)


def test_archives_that_unpack_to_more_than_memory_are_refused(
    tmp_path: Path, machine_memory: Callable[[int], None]
) -> None:
    config = written(tmp_path, {"images": IMAGES})
    np.savez_compressed(config.train, images=np.zeros((1000, 100, 100, 3), np.uint8))
    machine_memory(50_000_000)
    with pytest.raises(ValueError, match=r"its arrays take 0\.0 GB"):
        load(config)
    machine_memory(70_000_000)
    assert load(config.model_copy(update={"test": config.train})).train.labels.shape == (1000,)
    with zipfile.ZipFile(config.train, "w") as archive:
        for number in range(1001):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(ValueError, match="holds 1,001 arrays"):
        load(config)


def test_images_that_no_memory_holds_are_refused(machine_memory: Callable[[int], None]) -> None:
    machine_memory(10**9)
    with pytest.raises(ValueError, match=r"train images would take 15\.4 GB, and this machine"):
        load(Glyphs(size=1012))
