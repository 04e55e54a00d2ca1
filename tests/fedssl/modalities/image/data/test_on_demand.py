"""Images that are fetched when they are needed: the same bits, and no more of them than needed."""

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from fedssl.data import Dataset, Splits
from fedssl.modalities import load
from fedssl.modalities.image.data.config import OwnImages
from fedssl.modalities.image.data.folder import Folder
from tests.tools.datasets import random_dataset
from tests.tools.image_folders import draw_classes, draw_image


class Source:
    """Fetches from a tensor, notes the rows, and may spoil what it gives."""

    def __init__(self, images: Tensor, spoil: Callable[[Tensor], Tensor] = lambda images: images):
        self.examples = images
        self.shape = images.shape
        self.fetched: list[int] = []
        self._spoil = spoil

    def __getitem__(self, rows: Tensor) -> Tensor:
        self.fetched += rows.tolist()
        return self._spoil(self.examples[rows])


def on_demand(data: Dataset, source: Source) -> Dataset:
    return Dataset(source, data.labels, data.class_names, data.fields)


def read(monkeypatch: pytest.MonkeyPatch, splits: Splits, **section: object) -> Splits:
    module = types.ModuleType("my_sets")
    module.__dict__["mine"] = lambda: splits
    monkeypatch.setitem(sys.modules, "my_sets", module)
    return load(OwnImages.model_validate({"name": "my_sets.mine", **section}))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("section", [{}, {"size": 5}, {"limit": {"train": 7, "test": 99}}])
def test_a_source_gives_what_a_tensor_gives(
    monkeypatch: pytest.MonkeyPatch, channels: int, section: dict[str, object]
) -> None:
    train, test = random_dataset(30, channels), random_dataset(12)
    source = Source(train.fetch())
    held = read(monkeypatch, Splits(train, test), **section).train
    lazy = read(monkeypatch, Splits(on_demand(train, source), test), **section).train
    assert len(source.fetched) == 1
    assert tuple(lazy.examples.shape) == tuple(held.examples.shape)
    assert torch.equal(lazy.labels, held.labels)
    assert lazy.fields.keys() == held.fields.keys()
    assert np.array_equal(lazy.fields["camera"], held.fields["camera"])
    index = np.array([5, 0, 3])
    part = lazy.take(index)
    assert len(source.fetched) == 4
    assert torch.equal(part.fetch(), held.fetch(index))
    assert torch.equal(part.labels, held.labels[torch.from_numpy(index)])
    assert len(source.fetched) == 4
    assert torch.equal(lazy.fetch(), held.fetch())


def test_no_rows_ask_the_source_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(random_dataset().fetch())
    lazy = read(
        monkeypatch, Splits(on_demand(random_dataset(), source), random_dataset()), size=4
    ).train
    before = len(source.fetched)
    nothing = lazy.take(np.array([], np.int64))
    assert tuple(nothing.examples.shape) == (0, 3, 4, 4)
    assert len(source.fetched) == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images: images.float(), r"train gave images torch\.float32 \[1, 3, 8, 8\] for 1 "),
        (lambda images: images[:, :1], r"\[1, 1, 8, 8\] .* must be torch\.uint8 \[1, 3, 8, 8\]"),
        (lambda images: images[0], r"gave images torch\.uint8 \[3, 8, 8\] for 1 rows"),
        (lambda images: images.numpy(), r"gave images uint8 .* must be torch\.uint8"),
    ],
)
def test_a_source_that_gives_something_else_is_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Tensor], Tensor], message: str
) -> None:
    source = Source(random_dataset().fetch(), spoil)
    with pytest.raises(ValueError, match=r"data\.name = my_sets\.mine: .*" + message):
        read(monkeypatch, Splits(on_demand(random_dataset(), source), random_dataset()))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            random_dataset().fetch().repeat(1, 2, 1, 1)[:, :4],
            r"train images are torch\.uint8 \[12, 4, 8, 8",
        ),
        (random_dataset().fetch()[:0], "train has no images"),
        (
            random_dataset().fetch()[:11],
            r"labels are torch\.int64 \[12\]: they must be int64 \[11\]",
        ),
        (random_dataset(side=9).fetch(), r"data\.size is needed, .* 9×9 and the test images 8×8"),
    ],
)
def test_a_source_of_another_shape_is_refused(
    monkeypatch: pytest.MonkeyPatch, images: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read(monkeypatch, Splits(on_demand(random_dataset(), Source(images)), random_dataset()))


def test_a_folder_gives_the_same_images_whether_in_memory_or_not(tmp_path: Path) -> None:
    train = draw_classes(tmp_path / "train", "ab", 8)
    draw_image(train / "b" / "wide.png", size=(9, 7))
    for section in ({}, {"limit": {"train": 5}}):
        held, lazy = (
            load(
                Folder.model_validate(
                    {"train": train, "size": 5, "in_memory": in_memory, **section}
                )
            )
            for in_memory in (True, False)
        )
        for one, other in ((held.train, lazy.train), (held.test, lazy.test)):
            assert tuple(other.examples.shape) == tuple(one.examples.shape)
            assert torch.equal(one.labels, other.labels)
            assert torch.equal(one.fetch(), other.fetch())


def test_a_file_that_cannot_be_read_is_named_when_it_is_needed(tmp_path: Path) -> None:
    train = draw_classes(tmp_path / "train")
    whole = (train / "b" / "3.png").read_bytes()
    (train / "b" / "3.png").write_bytes(whole[: len(whole) // 2])
    lazy = load(
        Folder(train=train, test=draw_classes(tmp_path / "test"), size=4, in_memory=False)
    ).train
    assert lazy.fetch(np.array([0, 7])).shape == (2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"b/3\.png cannot be read as an image"):
        lazy.fetch(np.array([0, 8]))
    (train / "b" / "3.png").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"b/3\.png cannot be read as an image"):
        load(Folder(train=train, test=tmp_path / "test", size=4, in_memory=False))


def test_files_on_demand_need_a_size(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"in_memory = false needs data\.size"):
        Folder(train=tmp_path, in_memory=False)
