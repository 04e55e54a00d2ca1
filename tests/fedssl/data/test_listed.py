"""Lists of files with labels and columns."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedssl.modalities import load
from fedssl.modalities.image.data.folder import Folder
from tests.tools.image_folders import draw_image


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
