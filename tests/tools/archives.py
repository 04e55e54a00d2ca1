"""Archives of a few random images."""

from pathlib import Path
from typing import Any

import numpy as np

from fedssl.modalities.image.data.npz import Npz

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3)).astype(np.uint8)

LABELS = np.array([0, 1, 2, 0, 1, 2], np.int32)


def written(folder: Path, train: dict[str, Any], test: dict[str, Any] | None = None) -> Npz:
    np.savez(folder / "train.npz", **train)
    np.savez(
        folder / "test.npz", **({"images": IMAGES, "labels": LABELS} if test is None else test)
    )
    return Npz(train=folder / "train.npz", test=folder / "test.npz")
