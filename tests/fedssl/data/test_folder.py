"""Reading folders of image files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from fedssl.data import load
from fedssl.data.folder import Folder


def draw(path: Path, seed: int = 0, size: tuple[int, int] = (6, 6), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def classes(root: Path, names: str = "ab", each: int = 5) -> Path:
    for label, name in enumerate(names):
        for number in range(each):
            draw(root / name / f"{number}.png", seed=label * 100 + number)
    return root


def test_one_folder_per_class_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    train = classes(tmp_path / "train", "bac")
    (train / "a" / "notes.txt").write_text("not an image")
    draw(train / ".cache" / "x" / "hidden.png")
    splits = load(Folder(train=train, test=classes(tmp_path / "test", "abc", 2)))
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
        classes(tmp_path / "train" / domain, names, 2)
    splits = load(Folder(train=tmp_path / "train", test=tmp_path / "train"))
    assert splits.train.class_names == ("a", "b", "c")
    assert splits.train.labels.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert splits.train.fields["domain"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_loose_files_are_unlabelled(tmp_path: Path) -> None:
    for number in range(3):
        draw(tmp_path / "train" / f"{number}.png", number)
    splits = load(Folder(train=tmp_path / "train", test=classes(tmp_path / "test")))
    assert splits.train.labels.tolist() == [-1, -1, -1]


def test_without_a_test_folder_a_fifth_of_each_class_is_held_out(tmp_path: Path) -> None:
    config = Folder(train=classes(tmp_path, "ab", 10))
    splits = load(config)
    assert torch.bincount(splits.train.labels).tolist() == [8, 8]
    assert torch.bincount(splits.test.labels).tolist() == [2, 2]
    both = torch.cat([splits.train.fetch(), splits.test.fetch()]).numpy()
    assert len({image.tobytes() for image in both}) == 20
    assert torch.equal(load(config).test.fetch(), splits.test.fetch())


def test_only_what_the_limit_keeps_is_decoded(tmp_path: Path) -> None:
    train = classes(tmp_path / "train", "ab", 10)
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
    train = classes(tmp_path / "train")
    draw(train / "b" / "wide.png", size=(9, 6))
    with pytest.raises(ValueError, match=r"data\.size is needed.* 6×6, .*wide\.png 9×6"):
        load(Folder(train=train, test=train))
    assert load(Folder(train=train, test=train, size=4)).train.images.shape == (11, 3, 4, 4)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "CMYK", "LA"])
def test_every_common_kind_of_image_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    path = draw(tmp_path / "train" / "a" / f"x.{suffix}", mode=mode)
    image = load(Folder(train=tmp_path / "train", test=tmp_path / "train")).train.fetch()[0]
    with Image.open(path) as source:
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(source.convert("RGB")))


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    train = classes(tmp_path)
    content = (train / "b" / "3.png").read_bytes()
    (train / "b" / "3.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"3\.png cannot be read as an image"):
        load(Folder(train=train, test=train))
    (train / "b" / "3.png").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"3\.png cannot be read as an image"):
        load(Folder(train=train, test=train))


def test_layouts_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    train = classes(tmp_path / "train")
    with pytest.raises(ValueError, match=r"data\.train = .*gone: there is no such folder"):
        load(Folder(train=tmp_path / "gone", test=train))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"data\.test = .*empty: no image files"):
        load(Folder(train=train, test=tmp_path / "empty"))
    with pytest.raises(ValueError, match=r"data\.test: its classes \(a, c\) are not .*\(a, b\)"):
        load(Folder(train=train, test=classes(tmp_path / "other", "ac")))
    draw(train / "loose.png")
    with pytest.raises(ValueError, match=r"loose\.png and .*a/4\.png do not fit one layout"):
        load(Folder(train=train, test=train))
    draw(tmp_path / "deep" / "a" / "b" / "c" / "x.png")
    with pytest.raises(ValueError, match=r"x\.png does not fit a layout.* data\.layout"):
        load(Folder(train=tmp_path / "deep"))
    draw(tmp_path / "deep" / "a" / "b" / "c" / "y.png")
    with pytest.raises(ValueError, match=r"x\.png and .*y\.png do not fit one layout"):
        load(Folder(train=tmp_path / "deep"))
    draw(tmp_path / "lone" / "a" / "x.png")
    with pytest.raises(ValueError, match="too few images to hold out a fifth"):
        load(Folder(train=tmp_path / "lone"))
