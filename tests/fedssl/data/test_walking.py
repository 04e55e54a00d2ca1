"""Finding files below a folder."""

from pathlib import Path

import pytest
import torch

from fedssl.modalities import load
from fedssl.modalities.image.data.folder import Folder
from tests.tools.image_folders import draw_classes, draw_image


def test_links_are_followed_and_circles_noticed(tmp_path: Path) -> None:
    draw_classes(tmp_path / "elsewhere", "c")
    train = draw_classes(tmp_path / "train", "ab")
    (train / "c").symlink_to(tmp_path / "elsewhere" / "c")
    (train / "a" / "linked.png").symlink_to(tmp_path / "elsewhere" / "c" / "0.png")
    splits = load(Folder(train=train, test=train))
    assert splits.train.class_names == ("a", "b", "c")
    assert torch.bincount(splits.train.labels).tolist() == [6, 5, 5]
    (train / "b" / "self").symlink_to(train / "b" / "self")
    with pytest.raises(ValueError, match=r"b/self cannot be read .* it is a link to nothing"):
        load(Folder(train=train, test=train))
    (train / "b" / "round").symlink_to(train)
    with pytest.raises(ValueError, match=r"data\.train: .*b/round: is a link to a folder above it"):
        load(Folder(train=train, test=train))


def test_what_is_no_image_is_told_by_suffix(tmp_path: Path) -> None:
    train = draw_classes(tmp_path / "train", "ab")
    for name in ("film.mp4", "paper.pdf", "paper2.PDF", "README"):
        (train / "a" / name).write_bytes(b"x")
    splits = load(Folder(train=train, test=train))
    assert len(splits.train) == 10
    assert (
        splits.notes[1] == "data.train: left out, since no images: 1 .mp4, 2 .pdf, 1 without suffix"
    )
    (tmp_path / "phone").mkdir()
    for name in ("a.heic", "b.heic", "c.mov"):
        (tmp_path / "phone" / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no image files .* can be read; seen: 2 \.heic, 1 \.mov"):
        load(Folder(train=tmp_path / "phone"))


def test_names_that_are_no_text_are_written_as_text(tmp_path: Path) -> None:
    import os

    for name in (b"\xff", b"\xfe", b"line\nbreak"):
        folder = os.fsdecode(os.fsencode(tmp_path) + b"/train/" + name)
        for number in range(5):
            draw_image(Path(folder) / f"{number}.png")
    splits = load(Folder(train=tmp_path / "train"))
    assert splits.train.class_names == ("\\udcfe", "\\udcff", "line\\nbreak")
