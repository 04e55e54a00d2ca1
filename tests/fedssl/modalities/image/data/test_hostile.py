"""Whatever is found on disk, there are images or one error that says what is wrong."""

import io
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from fedssl.data import DataConfig
from fedssl.modalities import load
from fedssl.modalities.image.data.files import Decoding, UnreadableImageError, check_header, decode
from fedssl.modalities.image.data.folder import Folder
from fedssl.modalities.image.data.npz import Npz

pytestmark = pytest.mark.slow

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)


def many(examples: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )


def encoded(form: str, mode: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(PIXELS)
    if mode == "I;16":
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200)
    elif mode != "RGB":
        image = image.convert(mode)
    image.save(file, form, **options)
    return file.getvalue()


def exif() -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = 6
    return made


WHOLE = [
    encoded("JPEG", "RGB", exif=exif()),
    encoded("JPEG", "CMYK"),
    encoded("PNG", "RGBA", exif=exif()),
    encoded("PNG", "P", transparency=0),
    encoded("PNG", "I;16"),
    encoded("WebP", "RGBA"),
    encoded("BMP", "RGB"),
    encoded("GIF", "P", transparency=1),
    encoded("TIFF", "RGB", compression="tiff_lzw"),
    encoded("TIFF", "I;16"),
    encoded("PPM", "RGB"),
]


@st.composite
def damaged(draw: st.DrawFn, wholes: list[bytes]) -> bytes:
    """Change, cut or lengthen a file."""
    content = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        content[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(content[: draw(st.integers(0, 2 * len(content)))])


@many(1500)
@given(content=damaged(WHOLE) | st.binary(max_size=100))
def test_a_file_is_an_image_or_is_named(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "x.jpg")
        path.write_bytes(content)
        for look in (check_header, decode):
            try:
                image = look(str(path), Decoding(max_pixels=10_000))
            except UnreadableImageError as error:
                told = str(error)
            else:
                assert image is None or (image.dim() == 3 and image.shape[0] == 3)
                continue
            assert "x.jpg cannot be read as an image: " in told
            assert len(told.splitlines()) == 1


def given_data(make: Callable[[], DataConfig]) -> None:
    """Load a set: there are images, or an error in text that can be written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            splits = load(make())
        except ValidationError:
            return
        except ValueError as error:
            told = str(error)
            splits = None
    if splits is None:
        assert len(told.encode()) < 20_000
        return
    for part in (splits.train, splits.test):
        assert part.fetch().shape[0] == len(part.labels)
        assert int(part.labels.max()) < max(1, len(part.class_names))
        for name, values in part.fields.items():
            "".join([name, *(part.name_of(name, int(v)) for v in values)]).encode()
    "".join([*splits.train.class_names, *splits.notes, *(r for _, r in splits.skipped)]).encode()


NAMES = st.sampled_from(
    ["a", "b", "cat", "train", "test", "val", "Ünïcode", "sp ace", ".hidden", "line\nbreak"]
) | st.text(st.characters(blacklist_characters="/\0", codec="utf-8"), min_size=1, max_size=8)
ENDINGS = st.sampled_from([".png", ".JPG", ".tif", ".gif", ".heic", ".svg", ".pdf", ".mp4", ""])
KINDS = st.sampled_from(["image", "image", "image", "junk", "empty", "link", "up", "gone", "fifo"])
FILE = st.tuples(st.lists(NAMES, max_size=3), NAMES, ENDINGS, KINDS)
SECTION = st.fixed_dictionaries(
    {},
    optional={
        "layout": st.sampled_from(["auto", "class", "domain/class"]),
        "on_bad_file": st.sampled_from(["refuse", "skip"]),
        "size": st.integers(1, 9),
        "in_memory": st.booleans(),
        "max_pixels": st.sampled_from([1, 16, 100]),
        "where": st.dictionaries(st.sampled_from(["domain", "x"]), NAMES, max_size=1),
        "test_where": st.dictionaries(st.sampled_from(["domain", "x"]), NAMES, max_size=1),
        "limit": st.fixed_dictionaries({"train": st.integers(1, 5)}),
    },
)


def put(root: Path, parts: list[str], name: str, ending: str, kind: str) -> None:
    """Write a file, or what is in its place; what the disk refuses is left out."""
    folder = root.joinpath(*(part for part in parts if part not in (".", "..")))
    path = folder / (name + ending)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):  # a pipe would be waited for
            return
        if kind == "image":
            path.write_bytes(WHOLE[2])
        elif kind in ("junk", "empty"):
            path.write_bytes(b"junk" if kind == "junk" else b"")
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            to = {"link": root.parent / "y.png", "up": root, "gone": root / "gone"}
            path.symlink_to(to[kind])
    except (OSError, ValueError):
        pass


@many(500)
@given(files=st.lists(FILE, max_size=12), section=SECTION, tested=st.booleans())
def test_a_folder_is_read_or_refused(
    files: list[tuple[list[str], str, str, str]], section: dict[str, Any], tested: bool
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary, "root")
        root.mkdir()
        (root.parent / "y.png").write_bytes(WHOLE[0])
        for file in files:
            put(root, *file)
        paths = {"train": root, **({"test": root} if tested else {})}
        given_data(lambda: Folder.model_validate(paths | section))


CELL = st.sampled_from(["x.png", "y.png", "gone.png", "cat", "dog", "3", "-1", "", '"', "a b"])
ROWS = st.lists(st.lists(CELL | st.text(max_size=6), max_size=5), max_size=8)
HEADS = st.sampled_from(
    ["", "path,label", "path", "label,path,domain", "path,path", "PATH,Label,client,domain"]
)


@st.composite
def lists(draw: st.DrawFn) -> bytes:
    separator = draw(st.sampled_from([",", ",", "\t", " "]))
    rows = [separator.join(row) for row in draw(ROWS)]
    plain = [f"{draw(st.sampled_from(['x', 'y']))}.png,{draw(CELL)}" for _ in range(3)]
    text = "\n".join([draw(HEADS), *(draw(st.sampled_from([rows, plain])))])
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])), "replace")


@many(900)
@given(
    content=lists() | st.binary(max_size=60),
    ending=st.sampled_from([".csv", ".txt", ".tsv"]),
    section=SECTION,
)
def test_a_list_is_read_or_refused(content: bytes, ending: str, section: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, f"list{ending}")
        path.write_bytes(content)
        for name in ("x.png", "y.png"):
            path.with_name(name).write_bytes(WHOLE[2])
        given_data(lambda: Folder.model_validate({"train": path, **section}))


DTYPES = st.sampled_from(
    ["u1", "u1", "i8", "u8", "i1", "f4", "U3", "S3", "b1", "M8[s]", "c8", "V4"]
)
SIDES = st.lists(st.integers(0, 4), max_size=5).map(tuple)
KEYS = st.sampled_from(
    ["images", "labels", "class_names", "domain", "train_images", "train_labels", "test_images"]
)


@st.composite
def arrays(draw: st.DrawFn) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {"images": np.zeros((5, 2, 2, 3), np.uint8)}
    if draw(st.booleans()):
        found["labels"] = np.array(draw(st.lists(st.integers(-2, 2**40), min_size=5, max_size=5)))
    for name in draw(st.lists(KEYS, max_size=3)):
        shape = draw(SIDES | st.just((5,)) | st.just((5, 1)))
        content = draw(st.binary(min_size=0, max_size=64)) + bytes(16 * 1024)
        dtype = np.dtype(draw(DTYPES))
        count = int(np.prod(shape))
        with np.errstate(all="ignore"):
            raw = np.frombuffer(content[: count * dtype.itemsize], np.uint8)
        if dtype.kind == "U":
            found[name] = np.array([f"{b % 7}" for b in raw[:count]], "U3").reshape(shape)
        else:
            found[name] = raw.view(dtype).reshape(shape)
    return found


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    file = io.BytesIO()
    save = draw(st.sampled_from([np.savez, np.savez_compressed]))
    found: dict[str, Any] = draw(arrays())
    save(file, **found)
    if draw(st.booleans()):
        return file.getvalue()
    whole = file.getvalue()
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    if draw(st.booleans()):
        return draw(damaged([whole]))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, draw(damaged([content])))
    return file.getvalue()


@many(600)
@given(content=archives() | st.binary(max_size=60), tested=st.booleans())
def test_an_archive_is_read_or_refused(content: bytes, tested: bool) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "x.npz")
        path.write_bytes(content)
        given_data(lambda: Npz(train=path, test=path if tested else None))
