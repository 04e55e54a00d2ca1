"""Archives of a few random series."""

from pathlib import Path
from typing import Any

import numpy as np

from fedssl.modalities.series.data.npz import SeriesNpz

SERIES = np.random.default_rng(0).normal(size=(6, 2, 5)).astype(np.float32)

LABELS = np.array([0, 1, 2, 0, 1, 2])

OFFSETS = np.array([0, 2, 3, 7, 8, 10, 12])

VALUES = np.arange(24).reshape(12, 2)


def written(folder: Path, train: dict[str, Any], **fields: Any) -> SeriesNpz:
    np.savez(folder / "train.npz", **train)
    np.savez(folder / "test.npz", series=SERIES, labels=LABELS)
    return SeriesNpz(train=folder / "train.npz", test=folder / "test.npz", **fields)
