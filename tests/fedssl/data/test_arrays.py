"""Arrays of examples: labels, columns and splits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedssl.modalities import load
from fedssl.modalities.image.data.npz import Npz
from tests.tools.archives import IMAGES, LABELS, written


def test_labels_name_themselves_and_train_may_lack_some(tmp_path: Path) -> None:
    splits = load(written(tmp_path, {"images": IMAGES, "labels": np.full(6, -1)}))
    assert splits.train.class_names == splits.test.class_names == ("0", "1", "2")


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
