"""Write files atomically: to a temporary file that is synchronised and renamed; and lock files.

A writer that is killed leaves a temporary file, which `remove_leftovers` removes. The
writer holds a lock on it.
"""

import errno
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LEFTOVER = re.compile(r"\.(?:.+\.[0-9a-f]{8}|config\.yaml)\.writing")
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
_FIXES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or have the quota raised",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
}


class WriteError(OSError):
    """A file cannot be written; its earlier content is unchanged."""

    def __str__(self) -> str:
        fix = f"; {_FIXES[self.errno]}" if self.errno in _FIXES else ""
        return f"{self.filename}: cannot be written: {self.strerror}{fix}"


class NoLocksError(OSError):
    """The file system or the operating system does not support file locks."""


@contextmanager
def name_write_errors(path: Path) -> Iterator[None]:
    """Convert an OSError, which often has no file name, to a WriteError with this name."""
    try:
        yield
    except (WriteError, NoLocksError):
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


@contextmanager
def atomic_write(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary file to write, which then replaces ``path``.

    After a power failure the old file may be there again, unchanged; see `sync_folder`.

    Parameters
    ----------
    path : Path
        The file; if anything fails, it is unchanged.
    mode : int (default: 0o666)
        The file's permission bits, before the process's umask.

    Raises
    ------
    WriteError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic_write(path) as temporary:
    ...     _ = temporary.write_text("done")
    >>> path.read_text()
    'done'
    """
    with name_write_errors(path):
        temporary, file = _temporary_file(path, mode)
        try:
            yield temporary
            os.fsync(file)
            if os.name == "nt":
                # Windows cannot rename an open file.
                os.close(file)
                file = -1
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        finally:
            with suppress(OSError):
                os.close(file)


def append_text(path: Path, text: str) -> None:
    """Append a text to a file; if that fails, the file is unchanged.

    Raises
    ------
    WriteError
        The file cannot be written.
    """
    with name_write_errors(path), path.open("ab", buffering=0) as file:
        before = file.tell()
        remaining = memoryview(text.encode())
        try:
            while remaining:
                remaining = remaining[file.write(remaining) :]
        except BaseException:
            file.truncate(before)
            raise


def sync(path: Path) -> None:
    """Flush a file's content to the disk."""
    with name_write_errors(path), path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's names to the disk if the system can, so that no old file comes back."""
    if os.name == "nt":
        return
    with name_write_errors(path):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        except OSError as error:
            # Some file systems do not support it for folders.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(file)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, if they do not exist."""
    with name_write_errors(path):
        path.mkdir(parents=True, exist_ok=True)


def lock_file(path: Path, mode: int = 0o666) -> int | None:
    """Open or create a file, and lock it as long as it is open.

    Returns
    -------
    int | None
        The file's descriptor; None if another descriptor, of any process, holds the lock.

    Raises
    ------
    NoLocksError
        File locks are not supported.
    OSError
        The file cannot be opened.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, mode)
        succeeded = False
        try:
            if not _lock(file, path, exclusive=True):
                return None
            # Its last owner may have removed the file just before: then this is another one.
            succeeded = _is_at(file, path)
            if succeeded:
                return file
        finally:
            if not succeeded:
                os.close(file)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock on an existing file; read permission is enough.

    Raises
    ------
    NoLocksError
        File locks are not supported.
    OSError
        The file cannot be opened.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        return not _lock(file, path, exclusive=False)
    finally:
        os.close(file)


def is_leftover(name: str) -> bool:
    """Return whether a file's name is that of a temporary file.

    Examples
    --------
    >>> is_leftover(".plan.json.0123abcd.writing"), is_leftover("plan.json")
    (True, False)
    """
    return _LEFTOVER.fullmatch(name) is not None


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove the temporary files in folders whose lock no process holds."""
    for folder in folders:
        with suppress(OSError):
            for path in list(folder.iterdir()):
                if is_leftover(path.name) and (file := lock_file(path)) is not None:
                    path.unlink()
                    os.close(file)


def _lock(file: int, path: Path, *, exclusive: bool) -> bool:
    """Try to lock an open file, and return whether that succeeded."""
    if fcntl is None:
        raise NoLocksError(errno.ENOSYS, "there are no locks on this system", str(path))
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise NoLocksError(error.errno, error.strerror, str(path)) from error
        raise
    return True


def _temporary_file(path: Path, mode: int) -> tuple[Path, int]:
    """Create and lock a file with a new name in the folder of another."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.writing")
        try:
            # None: another process has just removed it as a leftover.
            if (file := lock_file(temporary, mode)) is not None:
                return temporary, file
        except NoLocksError:
            return temporary, os.open(temporary, os.O_RDWR | os.O_CREAT, mode)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
