"""Files that are whole or not there: written under another name, brought to the disk, renamed.

A writer that is killed leaves its temporary file behind, which `sweep` removes. A lock on it tells
whether its writer still lives.
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
    """A file cannot be written; what was there before still is."""

    def __str__(self) -> str:
        fix = f"; {_FIXES[self.errno]}" if self.errno in _FIXES else ""
        return f"{self.filename}: cannot be written: {self.strerror}{fix}"


class NoLocksError(OSError):
    """The file system, or the operating system, has no locks that end with their process."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an OSError, which often lacks a name, into a WriteError that names the file."""
    try:
        yield
    except (WriteError, NoLocksError):
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield an empty file beside ``path`` to be written, which then replaces it.

    If the power fails, the old file may come back, but whole: see `sync_folder`.

    Parameters
    ----------
    path : Path
        The file; it stays as it is if anything fails.
    mode : int (default: 0o666)
        Who may do what with it, less the process's umask.

    Raises
    ------
    WriteError
        It cannot be written.
    """
    with naming(path):
        temporary, file = _beside(path, mode)
        try:
            yield temporary
            os.fsync(file)
            if os.name == "nt":
                # It renames no open file.
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
    """Add to the end of a file: all of the text, or where that fails nothing.

    Raises
    ------
    WriteError
        It cannot be written.
    """
    with naming(path), path.open("ab", buffering=0) as file:
        before = file.tell()
        left = memoryview(text.encode())
        try:
            while left:
                left = left[file.write(left) :]
        except BaseException:
            file.truncate(before)
            raise


def sync(path: Path) -> None:
    """Bring what was written to a file to the disk."""
    with naming(path), path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Bring a folder's names to the disk, where the system can: so that no old file comes back."""
    if os.name == "nt":
        return
    with naming(path):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        except OSError as error:
            # Some file systems do not know it of folders.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(file)


def make_folder(path: Path) -> None:
    """Make a folder, and those that it lies in, unless they are there."""
    with naming(path):
        path.mkdir(parents=True, exist_ok=True)


def claim(path: Path, mode: int = 0o666) -> int | None:
    """Open a file, made where it is not there, and lock it for as long as it is open.

    Returns
    -------
    int | None
        Its descriptor; None where another process, or another opening of it in this one, has it
        locked.

    Raises
    ------
    NoLocksError
        There are no locks here.
    OSError
        It cannot be opened.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, mode)
        taken = False
        try:
            if not _lock(file, path, exclusive=True):
                return None
            # Whoever had it may have removed it just before: then it is no longer the one there.
            taken = _is_at(file, path)
            if taken:
                return file
        finally:
            if not taken:
                os.close(file)


def is_claimed(path: Path) -> bool:
    """Tell whether a process has a file locked that is there; one may look who may only read.

    Raises
    ------
    NoLocksError
        There are no locks here.
    OSError
        It cannot be opened.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        return not _lock(file, path, exclusive=False)
    finally:
        os.close(file)


def is_leftover(name: str) -> bool:
    """Tell whether a file's name is that of a temporary one."""
    return _LEFTOVER.fullmatch(name) is not None


def sweep(folders: Iterable[Path]) -> None:
    """Remove the temporary files whose writers were killed, as far as one can tell."""
    for folder in folders:
        with suppress(OSError):
            for path in list(folder.iterdir()):
                if is_leftover(path.name) and (file := claim(path)) is not None:
                    path.unlink()
                    os.close(file)


def _lock(file: int, path: Path, *, exclusive: bool) -> bool:
    """Lock an open file; return whether that is so: not where another process has it."""
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


def _beside(path: Path, mode: int) -> tuple[Path, int]:
    """Make a file beside another, with a name that nobody has, and lock it."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.writing")
        try:
            # None: just now somebody swept it away.
            if (file := claim(temporary, mode)) is not None:
                return temporary, file
        except NoLocksError:
            return temporary, os.open(temporary, os.O_RDWR | os.O_CREAT, mode)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
