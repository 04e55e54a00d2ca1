"""Reading folders of image files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from fedssl.modalities import load
from fedssl.modalities.image.data.folder import Folder
from tests.tools.image_folders import draw_classes, draw_image


def test_one_folder_per_class_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    train = draw_classes(tmp_path / "train", "bac")
    (train / "a" / "notes.txt").write_text("not an image")
    draw_image(train / ".cache" / "x" / "hidden.png")
    splits = load(Folder(train=train, test=draw_classes(tmp_path / "test", "abc", 2)))
    with_hidden = ImageFolder(train)
    expected = [
        (np.asarray(image), with_hidden.classes[label])
        for image, label in with_hidden
        if with_hidden.classes[label] != ".cache"
    ]
    names = splits.train.class_names
    assert names == ("a", "b", "c")
    assert len(splits.train) == len(expected) == 15
    for image, label, (pixels, name) in zip(
        splits.train.fetch(), splits.train.labels, expected, strict=True
    ):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels)
        assert names[int(label)] == name
    assert dict(splits.train.fields) == {}
    assert len(splits.test) == 6


def test_mixed_sizes_need_a_size(tmp_path: Path) -> None:
    train = draw_classes(tmp_path / "train")
    draw_image(train / "b" / "wide.png", size=(9, 6))
    with pytest.raises(ValueError, match=r"data\.size is needed.* 6×6, .*wide\.png 9×6"):
        load(Folder(train=train, test=train))
    assert load(Folder(train=train, test=train, size=4)).train.examples.shape == (11, 3, 4, 4)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "CMYK", "LA"])
def test_every_common_kind_of_image_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    path = draw_image(tmp_path / "train" / "a" / f"x.{suffix}", mode=mode)
    image = load(Folder(train=tmp_path / "train", test=tmp_path / "train")).train.fetch()[0]
    with Image.open(path) as source:
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(source.convert("RGB")))


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    train = draw_classes(tmp_path)
    content = (train / "b" / "3.png").read_bytes()
    (train / "b" / "3.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"3\.png cannot be read as an image"):
        load(Folder(train=train, test=train))
    (train / "b" / "3.png").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"3\.png cannot be read as an image"):
        load(Folder(train=train, test=train))


def test_bad_files_are_all_found_at_once(tmp_path: Path) -> None:
    train = draw_classes(tmp_path / "train", "ab", 20)
    for number in range(11):
        (train / "a" / f"{number}.png").write_bytes(b"hello")
    (train / "b" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    for in_memory in (True, False):
        with pytest.raises(ValueError, match="12 of 41 files cannot be read") as refused:
            load(Folder(train=train, test=train, size=4, in_memory=in_memory))
        lines = str(refused.value).splitlines()
        assert len(lines) == 12
        assert lines[0].endswith("or leave them out by data.on_bad_file: skip")
        assert lines[1].endswith("phone.HEIC: HEIC files are not read; save it as JPEG or PNG")
        assert lines[-1] == "  … and 2 more"


@pytest.mark.parametrize("in_memory", [True, False])
def test_bad_files_can_be_left_out_and_are_listed(tmp_path: Path, in_memory: bool) -> None:
    train = draw_classes(tmp_path / "train", "ab", 5)
    good = load(Folder(train=train, test=train, size=4)).train.fetch()
    (train / "a" / "2.png").write_bytes(b"%PDF-1.7")
    (train / "b" / "gone.png").symlink_to(tmp_path / "nothing")
    config = Folder(
        train=train,
        test=draw_classes(tmp_path / "test", "ab", 3),
        size=4,
        in_memory=in_memory,
        on_bad_file="skip",
    )
    splits = load(config)
    assert torch.equal(splits.train.fetch(), good[[0, 1, 3, 4, 5, 6, 7, 8, 9]])
    assert splits.train.labels.tolist() == [0] * 4 + [1] * 5
    assert len(splits.test) == 6
    assert dict(splits.skipped) == {
        str(train / "a" / "2.png"): "it is a PDF",
        str(train / "b" / "gone.png"): "it is a link to nothing",
    }
    assert "data.on_bad_file = skip: 2 of 17 files were left out" in splits.notes
    assert ("headers were read" in splits.notes[-1]) != in_memory
    for path in train.rglob("*.png"):
        path.unlink()
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"11 of 11 files cannot be read .*: none is left"):
        load(config.model_copy(update={"test": train}))
