"""Reading folders of image files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
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


def test_without_a_test_folder_a_fifth_of_each_class_is_held_out(tmp_path: Path) -> None:
    config = Folder(train=draw_classes(tmp_path, "ab", 10))
    splits = load(config)
    assert torch.bincount(splits.train.labels).tolist() == [8, 8]
    assert torch.bincount(splits.test.labels).tolist() == [2, 2]
    both = torch.cat([splits.train.fetch(), splits.test.fetch()]).numpy()
    assert len({image.tobytes() for image in both}) == 20
    assert torch.equal(load(config).test.fetch(), splits.test.fetch())


def test_only_what_the_limit_keeps_is_decoded(tmp_path: Path) -> None:
    train = draw_classes(tmp_path / "train", "ab", 10)
    config = Folder(train=train, test=train)
    whole = load(config).train.fetch().flatten(1).tolist()
    limited = {"limit": {"train": 4, "test": 2}}
    splits = load(Folder(train=train, test=train, **limited))  # type: ignore[arg-type]
    kept = [whole.index(image) for image in splits.train.fetch().flatten(1).tolist()]
    tested = [whole.index(image) for image in splits.test.fetch().flatten(1).tolist()]
    assert splits.train.labels.tolist() == [0, 0, 1, 1]
    for number, path in enumerate(sorted(train.rglob("*.png"))):
        if number not in kept + tested:
            path.write_bytes(b"broken")
    again = load(Folder(train=train, test=train, **limited))  # type: ignore[arg-type]
    assert torch.equal(again.train.fetch(), splits.train.fetch())


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


def listed(folder: Path, text: str, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_list_names_files_labels_and_columns(tmp_path: Path) -> None:
    for number in range(12):
        draw_image(tmp_path / "images" / f"{number}.png", number)
    lines = [f"images/{n}.png,{'dog' if n % 2 else 'cat'},c{n % 3},x" for n in range(10)]
    head = "path,label,client,domain"
    with_head = listed(tmp_path, "\ufeff" + "\n".join([head, *lines]))
    without = listed(tmp_path, "\n".join(lines), "list.txt")
    test = listed(tmp_path, f"label,path\ncat,{tmp_path}/images/10.png\n,images/11.png", "t.csv")
    for train in (with_head, without):
        splits = load(Folder(train=train, test=test))
        assert splits.train.class_names == splits.test.class_names == ("cat", "dog")
        assert splits.train.labels.tolist() == [0, 1] * 5
        assert splits.train.field_names == {"client": ("c0", "c1", "c2"), "domain": ("x",)}
        assert splits.train.fields["client"].tolist() == [n % 3 for n in range(10)]
        assert splits.test.labels.tolist() == [0, -1]
        with Image.open(tmp_path / "images" / "3.png") as image:
            third = splits.train.fetch()[3].permute(1, 2, 0).numpy()
            assert np.array_equal(third, np.asarray(image))
    assert splits.notes[0] == (
        "data.train: read as a list: 10 images, 2 classes, further columns: client, domain"
    )
    plain = listed(tmp_path, "".join(f"images/{n}.png {10 * n}\n" for n in range(12)), "x.txt")
    assert load(Folder(train=plain, test=plain)).train.class_names[:3] == ("0", "10", "20")
    bare = listed(tmp_path, "".join(f"images/{n}.png\n" for n in range(12)), "y.txt")
    assert load(Folder(train=bare)).train.labels.tolist() == [-1] * 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no image"),
        ("path,label\n", "lists no image"),
        ("path,label\na.png\n", "line 2 has 1 cells, but there are 2 columns"),
        ("path,label,label\na.png,a,b\n", "must name each column once"),
        ("path,label\n,a\n", "line 2 has no path"),
        ("a.png,a,b,c,d\n", "line 1 has 5 cells, but there are 4"),
        ('path,label\n"a.png,a\n', "cannot be read as a list"),
        ("path,label\ngone.png,a\nx.png,b\n", r"2 of 2 files cannot be read"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = listed(tmp_path, text)
    with pytest.raises(ValueError, match=message):
        load(Folder(train=path, test=path))


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.npz"
    path.write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(ValueError, match=r"no text in UTF-8.* for arrays use data\.name: npz"):
        load(Folder(train=path))


def test_domains_are_chosen_for_training_and_for_testing(tmp_path: Path) -> None:
    for number, domain in enumerate(("cartoon", "photo", "sketch")):
        for label, name in enumerate("ab"):
            for image in range(5):
                draw_image(
                    tmp_path / domain / name / f"{image}.png", 100 * number + 10 * label + image
                )
    section = {
        "train": tmp_path,
        "where": {"domain": ["photo", "cartoon"]},
        "test_where": {"domain": "sketch"},
    }
    splits = load(Folder.model_validate(section))
    assert (len(splits.train), len(splits.test)) == (20, 10)
    names = [splits.test.name_of("domain", int(v)) for v in splits.test.fields["domain"]]
    assert names == ["sketch"] * 10
    assert {splits.train.name_of("domain", int(v)) for v in splits.train.fields["domain"]} == {
        "photo",
        "cartoon",
    }
    splits = load(Folder.model_validate({**section, "test_where": {}}))
    assert (len(splits.train), len(splits.test)) == (16, 6)
    splits = load(Folder.model_validate({**section, "test": tmp_path}))
    assert (len(splits.train), len(splits.test)) == (20, 10)
    for where, message in (
        ({"domain": "photos"}, r"data\.where\.domain = photos: .* did you mean photo\?"),
        ({"camera": "x"}, r"data\.where\.camera: the examples have the columns domain"),
    ):
        with pytest.raises(ValueError, match=message):
            load(Folder.model_validate({**section, "where": where}))
