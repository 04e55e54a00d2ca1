"""Temporary folders, of which a killed process leaves none for long.

A lock in each tells whether its process lives. Whoever makes the next one removes those whose
process does not.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedssl.base.files import NoLocksError, claim, is_claimed

PREFIX = "fedssl-"
_OWNER = ".owner"


@contextmanager
def temporary_folder(kind: str = "", where: str | None = None) -> Iterator[Path]:
    """Make a folder for this user alone, and remove it at the end.

    Parameters
    ----------
    kind : str (default: "")
        Becomes part of its name.
    where : str | None (default: None)
        The folder to make it in; None for the system's.

    Yields
    ------
    Path
        The folder.
    """
    sweep_temporary(where)
    with tempfile.TemporaryDirectory(
        prefix=f"{PREFIX}{kind}", dir=where, ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        try:
            handle = claim(folder / _OWNER, 0o600)
        except NoLocksError:
            # Without the file it is never taken for left behind.
            (folder / _OWNER).unlink(missing_ok=True)
            handle = None
        try:
            yield folder
        finally:
            if handle is not None:
                os.close(handle)


def sweep_temporary(where: str | None = None) -> None:
    """Remove the folders of processes of this user that were killed."""
    if not hasattr(os, "getuid"):
        return
    with os.scandir(where or tempfile.gettempdir()) as entries:
        ours = [entry for entry in entries if entry.name.startswith(PREFIX)]
    for entry in ours:
        # Another user's process may have removed it, or made it to mislead us.
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False) and _is_left(entry):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_left(entry: "os.DirEntry[str]") -> bool:
    owner = Path(entry.path) / _OWNER
    if entry.stat(follow_symlinks=False).st_uid != os.getuid() or not owner.is_file():
        return False
    return not is_claimed(owner)
