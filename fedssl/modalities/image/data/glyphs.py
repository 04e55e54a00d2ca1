"""Letters in many typefaces, poses and colours, drawn on the spot."""

from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from fedssl.base.seeding import numpy_generator
from fedssl.data.constants import Constants, Spreads
from fedssl.data.dataset import Dataset, Splits
from fedssl.modalities.image.data.config import ImageData

TRAIN, TEST = 5000, 1500
SIDE = 32
LETTERS = "AEHKMRSTXO"
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmr10",
    "cmss10",
    "cmtt10",
    "cmb10",
)
"""Typefaces that matplotlib brings along."""

_CELL = 64
_MAXIMUM_TURN = np.pi
_MAXIMUM_SHEAR = 0.2
_MAXIMUM_SHIFT = 0.12
_SCALES = (0.9, 1.25)
_LEAST_CONTRAST = 0.35
_CHROMA = 0.05
_SHADING = 0.1
_NOISE = 0.03


class Glyphs(ImageData):
    """To try things out: letters in 14 typefaces, any pose and colour, 32×32; no download.

    10 classes, 5,000 images for training, 1,500 in other poses for testing; a natural partition may
    split by ``font``. Drawn in about a second, and always the same.
    """

    name: Literal["glyphs"] = "glyphs"
    """This data set."""
    mean: Constants = (0.5,)
    """The mean of its images."""
    std: Spreads = (0.29,)
    """The standard deviation of its images."""

    def read(self) -> Splits:
        """Draw the images."""
        return _draw()


@cache
def _draw() -> Splits:
    # Its own seed, not the experiment's: the images are the same in every run.
    random = numpy_generator(0, "glyphs")
    total = TRAIN + TEST
    letters = random.permutation(np.arange(total) % len(LETTERS))
    fonts = random.permutation(np.arange(total) % len(FONTS))
    cells, images = _render(), []
    for start in range(0, total, 500):  # few enough to stay in the processor's cache
        here = slice(start, start + 500)
        images.append(
            _paint(_pose(cells, letters[here] * len(FONTS) + fonts[here], random), random)
        )
    whole = Dataset(
        torch.from_numpy(np.concatenate(images)),
        torch.from_numpy(letters),
        tuple(LETTERS),
        {"font": fonts},
        {"font": FONTS},
    )
    return Splits(whole.take(np.arange(TRAIN)), whole.take(np.arange(TRAIN, total)))


def _render() -> np.ndarray:
    """Render every letter in every typeface: float32 [letters · fonts, cell, cell], 1 is ink."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    size = int(0.85 * _CELL)
    fonts = [
        ImageFont.truetype(folder / f"{name}.ttf", size, layout_engine=ImageFont.Layout.BASIC)
        for name in FONTS
    ]
    cells = []
    for letter in LETTERS:
        for font in fonts:
            cell = Image.new("L", (_CELL, _CELL))
            left, top, right, bottom = font.getbbox(letter)
            corner = (_CELL - left - right) / 2, (_CELL - top - bottom) / 2
            ImageDraw.Draw(cell).text(corner, letter, fill=255, font=font)
            cells.append(np.asarray(cell, np.float32) / 255)
    return np.stack(cells)


def _pose(cells: np.ndarray, which: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turn, scale, shear and shift the cells ``which`` (int64 [N]): float32 [N, SIDE, SIDE].

    In numpy, so that the bits do not depend on torch's threads.
    """
    number = len(which)
    turn = random.uniform(-_MAXIMUM_TURN, _MAXIMUM_TURN, number)
    shear = random.uniform(-_MAXIMUM_SHEAR, _MAXIMUM_SHEAR, number)
    scale = random.uniform(*_SCALES, number)
    shift = random.uniform(-_MAXIMUM_SHIFT, _MAXIMUM_SHIFT, (2, number)) * _CELL
    row, column = np.indices((SIDE, SIDE), np.float32) * (_CELL / SIDE) - (_CELL - 1) / 2
    cos, sin = np.cos(turn) / scale, np.sin(turn) / scale
    # A margin of one pixel stands for all that lies outside of a cell.
    padded = np.pad(cells, ((0, 0), (1, 1), (1, 1)))
    width = _CELL + 2

    def place(along: np.ndarray, across: np.ndarray, offset: np.ndarray) -> np.ndarray:
        a, b, c = (x.astype(np.float32)[:, None, None] for x in (along, across, offset))
        inside: np.ndarray = np.clip(a * column + b * row + c + (width - 1) / 2, 0, width - 1.001)
        return inside

    x, y = place(cos, shear / scale - sin, shift[0]), place(sin, cos, shift[1])
    left, top = x.astype(np.int64), y.astype(np.int64)
    x, y = x - left.astype(np.float32), y - top.astype(np.float32)
    corner = (which[:, None, None] * width + top) * width + left
    above = padded.take(corner) * (1 - x) + padded.take(corner + 1) * x
    below = padded.take(corner + width) * (1 - x) + padded.take(corner + width + 1) * x
    return np.asarray(above * (1 - y) + below * y)


def _paint(ink: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Colour the letters and their ground: uint8 [N, 3, SIDE, SIDE] from [N, SIDE, SIDE]."""
    number = len(ink)
    ground = random.uniform(0, 1, number)
    # Letters are lighter on dark grounds and darker on light ones, by the least contrast or more.
    dark = ground < 0.5
    nearest = np.where(dark, ground + _LEAST_CONTRAST, ground - _LEAST_CONTRAST)
    letter = nearest + random.uniform(0, 1, number) * (dark - nearest)
    colours = np.stack([ground, letter])[..., None] + random.uniform(
        -_CHROMA, _CHROMA, (2, number, 3)
    )
    back, front = colours.astype(np.float32)[..., None, None]
    slope = random.uniform(-_SHADING, _SHADING, (2, number)).astype(np.float32)[..., None, None]
    row, column = np.indices((SIDE, SIDE), np.float32) * (2 / SIDE) - 1
    image = back + (front - back) * ink[:, None]
    image += (slope[0] * row + slope[1] * column)[:, None]
    image += _NOISE * random.standard_normal(image.shape, np.float32)
    return np.asarray(np.round(np.clip(image, 0, 1) * 255), np.uint8)
