"""Which files are opened, as what, and how they become images."""

import os
import socket
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image, ImageOps

from fedssl.modalities.image.data.files import Decoding, UnreadableImageError, check_header, decode

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)


def shown(path: Path, **decoding: Any) -> np.ndarray:
    return decode(str(path), Decoding(**decoding)).permute(1, 2, 0).numpy()


def test_no_file_starts_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: started.append(a))
    path = tmp_path / "x.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(UnreadableImageError, match=r"x\.jpg .*: it is PostScript"):
        decode(str(path))
    with pytest.raises(UnreadableImageError, match="PostScript"):
        check_header(str(path))
    assert not started


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(width: int, height: int, *further: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(further) + chunk(b"IEND", b"")


@pytest.mark.parametrize("look", [decode, check_header])
def test_too_many_pixels_are_refused_by_the_header(tmp_path: Path, look: Any) -> None:
    path = tmp_path / "bomb.png"
    for side, message in ((9_000, "9000×9000 pixels, more than data"), (60_000, "than Pillow")):
        path.write_bytes(png(side, side, chunk(b"IDAT", b"")))
        with pytest.raises(UnreadableImageError, match=message):
            look(str(path))
    Image.fromarray(PIXELS).save(path)
    check_header(str(path), Decoding(max_pixels=24))
    with pytest.raises(UnreadableImageError, match=r"max_pixels = 23"):
        look(str(path), Decoding(max_pixels=23))
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse: takes no disk
    with pytest.raises(UnreadableImageError, match=r"2,147,483,648 bytes"):
        look(str(path))


def test_damaged_files_are_named_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    text = chunk(b"zTXt", b"key\0\0" + zlib.compress(b"a" * 10**8))
    for content in (
        b"",
        b"hello",
        png(8, 8),
        png(8, 8, chunk(b"IDAT", b"no deflate")),
        png(8, 8, text, chunk(b"IDAT", zlib.compress(b"\0" * 200))),
        b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40,
        b"GIF89a" + b"\x01" * 30,
        b"P6 10 10 255\n",
        b"P6 99999999999999999999 1 255\n",
        b"RIFF\xff\xff\xff\xffWEBPVP8 " + b"\0" * 20,
        b"\xff\xd8\xff\xe0" + b"\0" * 20,
        b"BM" + b"\xff" * 60,
    ):
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(UnreadableImageError, match=r"x\.png cannot be read") as refused:
                decode(str(path))
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 400 + len(str(path))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    with pytest.raises(UnreadableImageError, match="it is no regular file"):
        decode(str(tmp_path / "fifo.png"))
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    with pytest.raises(UnreadableImageError, match="it is no regular file"):
        decode(str(tmp_path / "endless.png"))
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone")
    with pytest.raises(UnreadableImageError, match="it is a link to nothing"):
        decode(str(tmp_path / "dangling.png"))
    with pytest.raises(UnreadableImageError, match="No such file"):
        decode(str(tmp_path / "gone.png"))
    server = socket.socket(socket.AF_UNIX)
    monkey = os.getcwd()
    os.chdir(tmp_path)  # the name of a socket is short
    try:
        server.bind("s.png")
    finally:
        os.chdir(monkey)
        server.close()
    with pytest.raises(UnreadableImageError, match="it is no regular file"):
        decode(str(tmp_path / "s.png"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WebP"])
def test_images_are_turned_as_exif_says(tmp_path: Path, form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "x"
    Image.fromarray(PIXELS).save(path, form, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(shown(path), expected)
    if form == "PNG" and orientation == 6:
        assert np.array_equal(shown(path), np.rot90(PIXELS, -1))


def test_damaged_exif_spoils_no_image(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(PIXELS).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert shown(path).shape == PIXELS.shape


def test_ordinary_images_are_the_same_to_the_bit(tmp_path: Path) -> None:
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1"):
        path = tmp_path / f"{mode}.png"
        Image.fromarray(PIXELS).convert(mode).save(path)
        with Image.open(path) as image:
            assert np.array_equal(shown(path), np.asarray(image.convert("RGB")))


def test_transparency_lies_on_white_or_what_is_asked_for(tmp_path: Path) -> None:
    drawing = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    drawing.putpixel((1, 0), (0, 0, 0, 0))
    for mode, form in (("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WebP"), ("RGBA", "TIFF")):
        path = tmp_path / "x"
        drawing.convert(mode).save(path, form, **({"lossless": True} if form == "WebP" else {}))
        assert shown(path).tolist() == [[[0, 0, 0], [255, 255, 255]]]
        assert shown(path, background="black").tolist() == [[[0, 0, 0], [0, 0, 0]]]
        assert shown(path, background="#010203").tolist() == [[[0, 0, 0], [1, 2, 3]]]


def test_a_transparent_colour_of_a_palette_or_of_greys_counts(tmp_path: Path) -> None:
    drawing = Image.fromarray(np.array([[0, 1]], np.uint8), "L")
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    palette.putpalette([9, 9, 9, 50, 60, 70])
    palette.putdata([0, 1])
    for image, name in ((drawing, "l.png"), (palette, "p.png"), (palette, "p.gif")):
        image.save(tmp_path / name, transparency=1)
        assert shown(tmp_path / name)[0, 1].tolist() == [255, 255, 255]
        assert shown(tmp_path / name)[0, 0].tolist() == ([9] * 3 if name[0] == "p" else [0] * 3)


def test_greys_of_16_bits_are_scaled(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 128 * 257, 65535, 200 * 257 + 20]], np.uint16)
    for name in ("x.png", "x.tif", "x.pgm"):
        Image.fromarray(deep).save(tmp_path / name)
        assert shown(tmp_path / name)[0, :, 1].tolist() == [0, 1, 128, 255, 200]
    big = Image.frombytes("I;16B", (5, 1), deep.astype(">u2").tobytes())
    big.save(tmp_path / "big.tif")
    assert shown(tmp_path / "big.tif")[0, :, 0].tolist() == [0, 1, 128, 255, 200]
    for mode in ("F", "I"):
        Image.new(mode, (3, 3)).save(tmp_path / "x.tif")
        with pytest.raises(UnreadableImageError, match="32 bits per channel"):
            decode(str(tmp_path / "x.tif"))


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    for form in ("GIF", "WebP", "PNG", "TIFF"):
        frames[0].save(tmp_path / "x", form, save_all=True, append_images=frames[1:])
        assert torch.equal(
            decode(str(tmp_path / "x")).amax((1, 2)) > 200, torch.tensor([True, False, False])
        )
