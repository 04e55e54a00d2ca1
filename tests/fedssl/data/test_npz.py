"""Reading .npz files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedssl.data import load
from fedssl.data.npz import Npz

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
