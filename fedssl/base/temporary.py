"""Temporary folders that are removed even if their process was killed.

Each has a lock that its process holds. The next process that makes a temporary folder removes those
whose lock is free.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedssl.base.files import NoLocksError, is_locked, lock_file

PREFIX = "fedssl-"
_OWNER = ".owner"


@contextmanager
def temporary_folder(kind: str = "", where: str | None = None) -> Iterator[Path]:
    """Make a folder that only this user can access, and remove it at the end.

    Parameters
    ----------
    kind : str (default: "")
        A part of the folder's name.
    where : str | None (default: None)
        The parent folder; None for the system's temporary folder.

    Yields
    ------
    Path
        The folder.

    Examples
    --------
    >>> with temporary_folder("example-") as folder:
    ...     folder.is_dir()
    True
    >>> folder.exists()
    False
    """
    remove_stale_folders(where)
    with tempfile.TemporaryDirectory(
        prefix=f"{PREFIX}{kind}", dir=where, ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        try:
            handle = lock_file(folder / _OWNER, 0o600)
        except NoLocksError:
            # Without the file no process takes the folder for a stale one.
            (folder / _OWNER).unlink(missing_ok=True)
            handle = None
        try:
            yield folder
        finally:
            if handle is not None:
                os.close(handle)


def remove_stale_folders(where: str | None = None) -> None:
    """Remove the temporary folders of this user whose processes were killed."""
    if not hasattr(os, "getuid"):
        return
    with os.scandir(where or tempfile.gettempdir()) as entries:
        candidates = [entry for entry in entries if entry.name.startswith(PREFIX)]
    for entry in candidates:
        # Another user's process may have removed the folder, or made it as a trap.
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False) and _is_stale(entry):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_stale(entry: "os.DirEntry[str]") -> bool:
    owner = Path(entry.path) / _OWNER
    if entry.stat(follow_symlinks=False).st_uid != os.getuid() or not owner.is_file():
        return False
    return not is_locked(owner)
