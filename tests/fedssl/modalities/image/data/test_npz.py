"""Reading .npz files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedssl.modalities import load
from fedssl.modalities.image.data.glyphs import Glyphs
from tests.tools.archives import IMAGES, LABELS, written


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


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    config = written(tmp_path, {"images": IMAGES})
    gone = config.model_copy(update={"test": tmp_path / "gone.npz"})
    with pytest.raises(ValueError, match=r"data\.test = .*gone\.npz: there is no such file; write"):
        load(gone)


def test_images_that_no_memory_holds_are_refused(machine_memory: Callable[[int], None]) -> None:
    machine_memory(10**9)
    with pytest.raises(ValueError, match=r"train images would take 15\.4 GB, and this machine"):
        load(Glyphs(size=1012))
