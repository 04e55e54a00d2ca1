"""Folders within a run's own, which hold what is drawn and measured."""

from pathlib import Path

from fedssl.config_file import ConfigError


def make_inside(path: Path) -> Path:
    """Make a folder within a run's, unless it is there, and return it.

    Raises
    ------
    ConfigError
        A file, or a link, is in its place: what is written must stay in the run's folder.
    """
    if path.is_symlink():
        raise ConfigError(
            f"{path}: is a link, so what is written would lie outside the run's folder; remove it"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: the folder cannot be made: {error.strerror}") from error
    return path
