"""Folders within a run's own, which hold what is drawn and measured."""

from pathlib import Path

from fedssl.base.config_file import ConfigError
from fedssl.base.files import make_folder


def make_inside(path: Path) -> Path:
    """Make a folder within a run's, unless it is there, and return it.

    Raises
    ------
    ConfigError
        A link is in its place: what is written must stay in the run's folder.
    WriteError
        It cannot be made.
    """
    if path.is_symlink():
        raise ConfigError(
            f"{path}: is a link, so what is written would lie outside the run's folder; remove it"
        )
    make_folder(path)
    return path
