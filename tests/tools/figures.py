"""Figures, drawn to a file."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from simulations.reports import plots


def save_figure(figure: Figure, path: Path) -> None:
    """Render a figure, since much fails only then, and check that a PNG came of it."""
    plots.save(figure, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert np.asarray(image).std() > 0
