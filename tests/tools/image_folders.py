"""Folders of image files."""

from pathlib import Path

import numpy as np
from PIL import Image


def draw_image(
    path: Path, seed: int = 0, size: tuple[int, int] = (6, 6), mode: str = "RGB"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def draw_classes(root: Path, names: str = "ab", each: int = 5) -> Path:
    for label, name in enumerate(names):
        for number in range(each):
            draw_image(root / name / f"{number}.png", seed=label * 100 + number)
    return root
