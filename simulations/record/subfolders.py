"""Folders within a run's folder, for plots and probes."""

from pathlib import Path

from fedssl.base.config_file import ConfigError
from fedssl.base.files import make_folder


def make_inside(path: Path) -> Path:
    """Create a folder within a run's folder if needed, and return it.

    Raises
    ------
    ConfigError
        A link has its name: all files must stay in the run's folder.
    WriteError
        The folder cannot be created.
    """
    if path.is_symlink():
        raise ConfigError(
            f"{path}: is a link, so what is written would lie outside the run's folder; remove it"
        )
    make_folder(path)
    return path
