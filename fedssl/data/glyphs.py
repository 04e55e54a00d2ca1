"""Letters in many typefaces, poses and colours, drawn on the spot."""

from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from fedssl.data.config import Constants, DataConfig
from fedssl.data.dataset import Dataset, Splits
from fedssl.seeding import numpy_generator

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
_SCALES = (0.8, 1.2)
_LEAST_CONTRAST = 0.35
_CHROMA = 0.15
_SHADING = 0.1
_NOISE = 0.04


class Glyphs(DataConfig):
    """To try things out: letters in 14 typefaces, any pose and colour, 32×32; no download.

    10 classes, 5,000 images for training, 1,500 in other poses for testing; a natural partition may
    split by ``font``. Drawn in about a second, and always the same.
    """

    name: Literal["glyphs"] = "glyphs"
    """This data set."""
    mean: Constants = (0.5,)
    """The middle of the scale."""
    std: Constants = (0.25,)
    """A round figure."""

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
    images = np.concatenate(
        [
            _paint(_pose(_atlas()[letters[chunk], fonts[chunk]], random), random)
            for chunk in np.split(np.arange(total), range(500, total, 500))  # stays in the cache
        ]
    )
    whole = Dataset(
        torch.from_numpy(images), torch.from_numpy(letters), tuple(LETTERS), {"font": fonts}
    )
    return Splits(whole.take(np.arange(TRAIN)), whole.take(np.arange(TRAIN, total)))


@cache
def _atlas() -> np.ndarray:
    """Render every letter in every typeface: float32 [letters, fonts, cell, cell], 1 is ink."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    atlas = np.empty((len(LETTERS), len(FONTS), _CELL, _CELL), np.float32)
    for column, name in enumerate(FONTS):
        font = ImageFont.truetype(
            folder / f"{name}.ttf", int(0.85 * _CELL), layout_engine=ImageFont.Layout.BASIC
        )
        for row, letter in enumerate(LETTERS):
            cell = Image.new("L", (_CELL, _CELL))
            left, top, right, bottom = font.getbbox(letter)
            corner = (_CELL - left - right) / 2, (_CELL - top - bottom) / 2
            ImageDraw.Draw(cell).text(corner, letter, fill=255, font=font)
            atlas[row, column] = np.asarray(cell, np.float32) / 255
    return atlas


def _pose(cells: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turn, scale, shear and shift each letter: float32 [N, SIDE, SIDE] from [N, cell, cell].

    In numpy, so that the bits do not depend on torch's threads.
    """
    number = len(cells)
    turn = random.uniform(-_MAXIMUM_TURN, _MAXIMUM_TURN, number)
    shear = random.uniform(-_MAXIMUM_SHEAR, _MAXIMUM_SHEAR, number)
    scale = random.uniform(*_SCALES, number)
    shift = random.uniform(-_MAXIMUM_SHIFT, _MAXIMUM_SHIFT, (2, number)) * _CELL
    row, column = np.indices((SIDE, SIDE), np.float32) * (_CELL / SIDE) - (_CELL - 1) / 2
    cos, sin = np.cos(turn) / scale, np.sin(turn) / scale

    def place(along: np.ndarray, across: np.ndarray, offset: np.ndarray) -> np.ndarray:
        a, b, c = (x.astype(np.float32)[:, None, None] for x in (along, across, offset))
        return np.asarray(a * column + b * row + c + (_CELL - 1) / 2)

    x = place(cos, shear / scale - sin, shift[0])
    y = place(sin, cos, shift[1])
    # One cell of margin stands for all that lies outside.
    padded = np.pad(cells, ((0, 0), (1, 1), (1, 1))).reshape(number, -1)
    x, y = (np.clip(v + 1, 0, _CELL + 0.999, dtype=np.float32) for v in (x, y))
    left, top = x.astype(np.int32), y.astype(np.int32)
    x, y = x - left, y - top
    corner = (top * (_CELL + 2) + left).reshape(number, -1)

    def ink(step: int) -> np.ndarray:
        return np.take_along_axis(padded, corner + step, 1).reshape(x.shape)

    above = ink(0) * (1 - x) + ink(1) * x
    below = ink(_CELL + 2) * (1 - x) + ink(_CELL + 3) * x
    return np.asarray(above * (1 - y) + below * y, np.float32)


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
