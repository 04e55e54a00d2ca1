"""What folders of files mean: classes, domains, or the splits of a set."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from fedssl.modalities import load
from fedssl.modalities.image.data.folder import Folder
from tests.tools.image_folders import draw_classes, draw_image


def test_domains_become_a_column(tmp_path: Path) -> None:
    for domain, names in (("photo", "ab"), ("sketch", "bc")):
        draw_classes(tmp_path / "train" / domain, names, 2)
    splits = load(Folder(train=tmp_path / "train", test=tmp_path / "train"))
    assert splits.train.class_names == ("a", "b", "c")
    assert splits.train.labels.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert splits.train.fields["domain"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_loose_files_are_unlabelled(tmp_path: Path) -> None:
    for number in range(3):
        draw_image(tmp_path / "train" / f"{number}.png", number)
    splits = load(Folder(train=tmp_path / "train", test=draw_classes(tmp_path / "test")))
    assert splits.train.labels.tolist() == [-1, -1, -1]


def test_layouts_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    train = draw_classes(tmp_path / "train")
    with pytest.raises(ValueError, match=r"data\.train = .*gone: there is no such folder"):
        load(Folder(train=tmp_path / "gone", test=train))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"data\.test = .*empty: no image files"):
        load(Folder(train=train, test=tmp_path / "empty"))
    with pytest.raises(ValueError, match=r"data\.test: its classes \(a, c\) are not .*\(a, b\)"):
        load(Folder(train=train, test=draw_classes(tmp_path / "other", "ac")))
    draw_image(train / "loose.png")
    with pytest.raises(ValueError, match=r"loose\.png and .*a/4\.png do not fit one layout"):
        load(Folder(train=train, test=train))
    draw_image(tmp_path / "deep" / "a" / "b" / "c" / "x.png")
    with pytest.raises(ValueError, match=r"x\.png does not fit a layout.* data\.layout"):
        load(Folder(train=tmp_path / "deep"))
    draw_image(tmp_path / "deep" / "a" / "b" / "c" / "y.png")
    with pytest.raises(ValueError, match=r"x\.png and .*y\.png do not fit one layout"):
        load(Folder(train=tmp_path / "deep"))
    draw_image(tmp_path / "lone" / "a" / "x.png")
    with pytest.raises(ValueError, match="too few images to hold out a fifth"):
        load(Folder(train=tmp_path / "lone"))


def notes(**section: Any) -> list[str]:
    return list(load(Folder.model_validate(section)).notes)


def test_what_was_read_as_what_is_told(tmp_path: Path) -> None:
    for domain in ("photo", "sketch"):
        draw_classes(tmp_path / "pacs" / domain, "ab")
    assert notes(train=tmp_path / "pacs") == [
        "data.train: folders read as domain/class: 2 domains, 2 classes, 20 images",
        "data.test: null, so a fifth of each class of data.train is held out: 4 images",
    ]
    draw_classes(tmp_path / "parts" / "cat", "ab")
    draw_classes(tmp_path / "parts" / "dog", "cd")
    (told, _) = notes(train=tmp_path / "parts")
    assert "if cat is a class and a a part of it, set data.layout: class" in told
    for number in range(9):
        draw_image(tmp_path / "voc" / "JPEGImages" / f"{number}.png")
    (told, _) = notes(train=tmp_path / "voc")
    assert f"if JPEGImages is no class, give data.train = {tmp_path}/voc/JPEGImages" in told
    (told, _) = notes(train=tmp_path / "voc" / "JPEGImages")
    assert told == "data.train: files read as unlabelled: 9 images"


def test_the_layout_can_be_named(tmp_path: Path) -> None:
    for number in range(5):
        draw_image(tmp_path / "x" / "cat" / f"{number}.png", number)
        draw_image(tmp_path / "x" / "cat" / "a" / f"{number}.png", number)
        draw_image(tmp_path / "x" / "dog" / "b" / "c" / f"{number}.png", number)
    for layout in ("auto", "class"):
        train = load(Folder.model_validate({"train": tmp_path / "x", "layout": layout})).train
        assert train.class_names == ("cat", "dog")
        assert torch.bincount(train.labels).tolist() == [8, 4]
    with pytest.raises(ValueError, match=r"cat/0\.png lies in too few folders .* = domain/class"):
        notes(train=tmp_path / "x", layout="domain/class")
    for number in range(5):
        (tmp_path / "x" / "cat" / f"{number}.png").unlink()
    with pytest.raises(ValueError, match=r"a/0\.png and .*b/c/4\.png do not fit one layout"):
        notes(train=tmp_path / "x")
    train = load(Folder(train=tmp_path / "x", layout="domain/class")).train
    assert train.class_names == ("a", "b")
    assert train.field_names == {"domain": ("cat", "dog")}
    with pytest.raises(ValidationError, match="layout"):
        notes(train=tmp_path / "x", layout="class/domain")


def test_the_splits_of_a_set_are_recognised(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", "ab", 6)
    draw_classes(tmp_path / "val", "ab", 2)
    splits = load(Folder(train=tmp_path))
    assert (len(splits.train), len(splits.test)) == (12, 4)
    assert splits.train.class_names == ("a", "b")
    assert f"the splits train/, val/ of one set found in {tmp_path}, and train/" in splits.notes[0]
    assert f"found in {tmp_path}, and val/ taken" in splits.notes[2]
    draw_classes(tmp_path / "Test", "ab", 3)
    for test in (None, tmp_path):
        splits = load(Folder(train=tmp_path, test=test))
        assert (len(splits.train), len(splits.test)) == (12, 6)
    splits = load(Folder(train=tmp_path, layout="domain/class"))
    assert splits.train.field_names["domain"] == ("Test", "train", "val")
    draw_classes(tmp_path / "other", "ab", 3)
    assert "domain" in load(Folder(train=tmp_path)).train.fields
