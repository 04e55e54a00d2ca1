"""Which files are images, and which of them can be read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedssl.modalities.image.data.files import Decoding, UnreadableImageError, decode

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)


def shown(path: Path, **decoding: Any) -> np.ndarray:
    return decode(str(path), Decoding(**decoding)).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WebP", "BMP", "GIF", "TIFF", "PPM"])
def test_what_is_named_is_read_whatever_a_file_is_called(tmp_path: Path, form: str) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(PIXELS).save(path, form)
    with Image.open(path) as image:
        assert np.array_equal(shown(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("form", ["ICO", "TGA", "PCX", "SGI", "IM", "JPEG2000"])
def test_other_formats_of_pillow_are_not(tmp_path: Path, form: str) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(PIXELS).save(path, form)
    with pytest.raises(UnreadableImageError, match=r"x\.png cannot be read as an image: it is"):
        decode(str(path))


@pytest.mark.parametrize(
    ("begins", "what"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypavif", "AVIF"),
        (b"\0\0\0\x18ftypmp42", "a film"),
        (b"%PDF-1.7", "a PDF"),
        (b"<svg xmlns='x'>", "SVG"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"", "it is empty"),
    ],
)
def test_what_a_file_is_instead_is_told(tmp_path: Path, begins: bytes, what: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(begins)
    with pytest.raises(UnreadableImageError, match=what):
        decode(str(path))
