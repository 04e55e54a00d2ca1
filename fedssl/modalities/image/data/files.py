"""Decode image files."""

import os
import stat
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageColor, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from fedssl.base.printable import escape_unsafe
from fedssl.data.file_kinds import suffix
from fedssl.data.folders import refusal
from fedssl.data.memory_limit import check_fits
from fedssl.modalities.image.data.kinds import FORMATS, IMAGE_FILES, seems

# Pixels are counted here, by a limit of our own: Pillow's warning of its lower one is noise.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

MAX_PIXELS = 64_000_000
PIXELS_OF_PILLOW = 178_956_970
"""Pillow itself opens no larger image."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to undo each orientation that EXIF tells of."""
_ORIENTATION = 0x0112
_PHOTOMETRIC = 262
"""The unreadable files that an error lists."""
_BYTES_PER_PIXEL = 16
"""No file of an image is larger than that, whatever its format: four channels of 32 bits."""


@dataclass(frozen=True)
class Decoding:
    """How files become images."""

    max_pixels: int = MAX_PIXELS
    """A file that claims more is not decoded."""
    background: str = "white"
    """What transparent pixels lie on."""


USUAL = Decoding()
"""The defaults."""


class UnreadableImageError(ValueError):
    """A file cannot be read as an image."""

    def __init__(self, path: str, reason: str):
        super().__init__(f"{escape_unsafe(path)} cannot be read as an image: {reason}")
        self.path, self.reason = path, reason


def resize(images: Tensor, size: int) -> Tensor:
    """Resize to ``size`` × ``size``, bilinear and antialiased, whatever the aspect ratio.

    Parameters
    ----------
    images : Tensor
        uint8 [N, C, H, W].
    size : int
        In pixels.
    """
    if images.shape[2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True)


def decode(path: str, decoding: Decoding = USUAL) -> Tensor:
    """Decode one file to red, green and blue, uint8 [3, H, W].

    It is turned as its EXIF data say; what is transparent lies on ``decoding.background``; greys of
    16 bits are scaled to 8. Of an animation it is the first frame.

    Raises
    ------
    UnreadableImageError
        It is no image, damaged, or larger than it may be.
    """
    try:
        with _opened(path, decoding) as image:
            image.load()
            turn = _TURNS.get(_orientation(image) or 1)
            upright = image if turn is None else image.transpose(turn)
            pixels = _colours(upright, image, decoding.background)
    except UnreadableImageError:
        raise
    # A damaged file makes Pillow's decoders raise nearly anything.
    except Exception as error:
        raise UnreadableImageError(path, _said(error)) from None
    return torch.from_numpy(pixels).permute(2, 0, 1)


def check_header(path: str, decoding: Decoding = USUAL) -> None:
    """Look at a file's beginning only: is it an image, and not too large?

    Raises
    ------
    UnreadableImageError
        It is not.
    """
    try:
        with _opened(path, decoding):
            pass
    except UnreadableImageError:
        raise
    except Exception as error:
        raise UnreadableImageError(path, _said(error)) from None


def _opened(path: str, decoding: Decoding) -> Image.Image:
    """Open a file as one of `FORMATS`, which reads its header, and check what that claims."""
    if reason := IMAGE_FILES.unreadable.get(suffix(path)):
        raise UnreadableImageError(path, reason)
    try:
        found = os.stat(path)
    except OSError as error:
        broken = os.path.islink(path) and isinstance(error, FileNotFoundError)
        raise UnreadableImageError(
            path, "it is a link to nothing" if broken else _said(error)
        ) from None
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableImageError(path, "it is no regular file")
    if found.st_size > _BYTES_PER_PIXEL * decoding.max_pixels + 2**20:
        raise UnreadableImageError(
            path, f"it has {found.st_size:,} bytes, more than data.max_pixels allows"
        )
    try:
        # Pillow knows formats that start other programs: no file may choose among them.
        image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        with open(path, "rb") as file:
            raise UnreadableImageError(path, seems(file.read(64))) from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(path, "it has more pixels than Pillow reads") from None
    width, height = image.size
    if width * height > decoding.max_pixels:
        image.close()
        raise UnreadableImageError(
            path,
            f"it has {width}×{height} pixels, more than data.max_pixels = {decoding.max_pixels:,}",
        )
    return image


def _said(error: Exception) -> str:
    """Return an exception's text in a line of bounded length."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return escape_unsafe(" ".join(str(text).split()))[:200]


def _orientation(image: Image.Image) -> int | None:
    try:
        return int(image.getexif()[_ORIENTATION])
    # None are there, or they are damaged, as some cameras write them, which spoils no pixel.
    except Exception:
        return None


def _colours(image: Image.Image, source: Image.Image, background: str) -> np.ndarray:
    """Return an image's pixels in red, green and blue, uint8 [H, W, 3].

    ``source`` is the same as it was opened, before it was turned.
    """
    if image.mode.startswith(("I", "F")):
        return _scaled(image, source, background)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        if image.mode in ("RGBa", "La"):
            image = image.convert(image.mode.upper())
        front = image.convert("RGBA")
        ground = Image.new("RGBA", front.size, (*_rgb(background), 255))
        image = Image.alpha_composite(ground, front)
    return np.array(image.convert("RGB"))


def _rgb(background: str) -> tuple[int, ...]:
    return ImageColor.getrgb(background)[:3]


def _scaled(image: Image.Image, source: Image.Image, background: str) -> np.ndarray:
    """Scale a grey image of 16 bits to 8."""
    sixteen = image.mode.startswith("I;16") or source.format in ("PNG", "PPM")
    if image.mode.startswith("F") or not sixteen:
        raise ValueError("it has 32 bits per channel: save it with 8 or 16")
    deep = np.asarray(image).astype(np.int64)
    if source.format == "TIFF" and getattr(source, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
        deep = 65535 - deep  # its 0 is white
    grey = ((deep * 255 + 32767) // 65535).clip(0, 255).astype(np.uint8)
    pixels = np.repeat(grey[..., None], 3, axis=2)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        pixels[deep == clear] = _rgb(background)
    return pixels


Bad = dict[int, tuple[str, str]]
"""By the place of each file that cannot be read: its path, and why."""


def decode_all(
    paths: Sequence[str], size: int | None, decoding: Decoding = USUAL, where: str = ""
) -> Tensor:
    """Decode files once each, to uint8 [N, 3, size, size] (their own size where None).

    Raises
    ------
    ValueError
        Files cannot be read, all of which are found, or ``size`` is None and the images differ in
        size. ``where`` begins the message.
    """
    images, bad = decode_good(paths, size, decoding)
    if bad:
        raise ValueError(refusal(list(bad.values()), len(paths), IMAGE_FILES, where))
    return images


def decode_good(
    paths: Sequence[str], size: int | None, decoding: Decoding = USUAL
) -> tuple[Tensor, Bad]:
    """Decode those files that can be read.

    Returns
    -------
    tuple[Tensor, Bad]
        uint8 [M, 3, H, W]: the images that could be read, in the order of ``paths``; and the other
        files.

    Raises
    ------
    ValueError
        ``size`` is None and the images differ in size, or they do not fit into memory.
    """
    images: Tensor | None = None
    bad: Bad = {}
    first, kept = "", 0
    with ThreadPoolExecutor() as pool:
        for place, found in enumerate(pool.map(lambda p: _try(p, size, decoding), paths)):
            if isinstance(found, str):
                bad[place] = paths[place], found
                continue
            if images is None:
                check_fits((len(paths), *found.shape), "the images")
                images = torch.empty(len(paths), *found.shape, dtype=torch.uint8)
                first = paths[place]
            if found.shape != images.shape[1:]:
                pool.shutdown(wait=False, cancel_futures=True)
                sides = [f"{s[2]}×{s[1]}" for s in (images[0].shape, found.shape)]
                raise ValueError(
                    "data.size is needed, since the images differ in size: "
                    f"{escape_unsafe(first)} is {sides[0]}, "
                    f"{escape_unsafe(paths[place])} {sides[1]}"
                )
            images[kept] = found
            kept += 1
    if images is None:
        images = torch.empty(0, 3, size or 1, size or 1, dtype=torch.uint8)
    return images[:kept], bad


def check_headers(paths: Sequence[str], decoding: Decoding) -> Bad:
    """Look at the beginning of each file, and decode none; returns those that cannot be read."""

    def look(path: str) -> str | None:
        try:
            check_header(path, decoding)
        except UnreadableImageError as error:
            return error.reason
        return None

    with ThreadPoolExecutor() as pool:
        found = enumerate(pool.map(look, paths))
        return {place: (paths[place], reason) for place, reason in found if reason}


def _try(path: str, size: int | None, decoding: Decoding) -> Tensor | str:
    """Decode and resize a file, or say why it cannot be."""
    try:
        image = decode(path, decoding)
    except UnreadableImageError as error:
        return error.reason
    return image if size is None else resize(image[None], size)[0]
