"""lightly, the usual library for self-supervised learning, makes views of an image at a time."""

import importlib.util
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from lightly.transforms.simclr_transform import SimCLRTransform


def missing() -> str | None:
    """Return why lightly cannot be measured here, and how to change it; None where it can."""
    if importlib.util.find_spec("lightly") is None:
        return "No module named 'lightly'; pip install 'lightly>=1.5,<2'"
    return None


def transform() -> "SimCLRTransform":
    """Return lightly's `SimCLRTransform` with the strengths of fedssl's default recipe.

    It is its default but for the blur, which small images do without, and the sizes of crops.
    """
    from lightly.transforms.simclr_transform import SimCLRTransform

    # The strength multiplies 0.8, 0.8, 0.8 and 0.2; it is what lightly recommends for small images.
    return SimCLRTransform(input_size=32, cj_strength=0.5, min_scale=0.2, gaussian_blur=0.0)


def views_per_cpu_second(count: int) -> float:
    """Measure how fast lightly makes views, two of each image, in one thread.

    Of PIL images of 32×32 pixels, as its data sets yield them: from tensors it is slower.

    Parameters
    ----------
    count : int
        The images to make views of.
    """
    torch.set_num_threads(1)
    views = transform()
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    images = [Image.fromarray(image) for image in pixels]
    # The first calls warm up.
    for image in images[:10]:
        views(image)
    begin = time.process_time()
    made = sum(len(views(image)) for image in images)
    return made / (time.process_time() - begin)
