"""A lock on a folder: only one process at a time writes there."""

import json
import os
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from fedssl.base.config_file import ConfigError
from fedssl.base.files import NoLocksError, is_leftover, is_locked, lock_file, name_write_errors
from fedssl.base.printable import printable

LOCK = ".lock"
_LOCKS = re.compile(r"\.lock(-\d+-of-\d+)?")


class LockedError(ConfigError):
    """Another process writes to the folder; this one has written nothing."""


@contextmanager
def lock_folder(
    folder: Path, on_message: Callable[[str], None], name: str = LOCK
) -> Iterator[None]:
    """Return a context in which no other process writes to a folder, which is created if needed.

    The lock is the operating system's (flock), on a file that names host, process and start time.
    It ends with the process, however that ends. At the end the file is removed, and so is a folder
    that was created here and stayed empty. Readers need no lock.

    Parameters
    ----------
    folder : Path
        The folder to lock.
    on_message : Callable[[str], None]
        Called with a message where the file system has no locks, so that no other process is kept
        out.
    name : str (default: ".lock")
        The name of the lock's file. Processes that exclude each other use the same name.

    Raises
    ------
    LockedError
        Another process holds the lock; the message names it.
    WriteError
        The folder cannot be written to.
    """
    file = folder / name
    with name_write_errors(file):
        created = _create(folder)
    try:
        with name_write_errors(file):
            handle = lock_file(file)
    except NoLocksError:
        file.unlink(missing_ok=True)
        on_message(f"{folder}: this file system has no locks: see that nothing else writes there")
        handle = -1
    except BaseException:
        _remove_empty(created)
        raise
    if handle is None:
        raise LockedError(
            f"{folder}: {_holder(file)} writes there; wait until it has ended, or give another "
            "folder by --out"
        )
    try:
        if handle >= 0:
            _sign(handle)
        yield
    finally:
        if handle >= 0:
            # While it is locked, so that it is nobody else's.
            with suppress(OSError):
                file.unlink()
            os.close(handle)
        _remove_empty(created)


def is_held(folder: Path) -> bool:
    """Return whether a process holds the lock of a folder.

    Raises
    ------
    OSError
        The file cannot be opened, or the file system has no locks.
    """
    file = folder / LOCK
    return file.exists() and is_locked(file)


def is_temporary(name: str) -> bool:
    """Return whether a file's name is that of a lock, or of a temporary file of a killed writer.

    >>> is_temporary(".lock"), is_temporary("metrics.jsonl")
    (True, False)
    """
    return _LOCKS.fullmatch(name) is not None or is_leftover(name)


def _create(folder: Path) -> list[Path]:
    """Create a folder; return the folders that did not exist before, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _sign(handle: int) -> None:
    """Write this process's host, number and start time; a full disk must not prevent the lock."""
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    owner = {"host": platform.node(), "pid": os.getpid(), "since": since}
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps(owner).encode() + b"\n")


def _holder(file: Path) -> str:
    try:
        owner = json.loads(file.read_bytes())
        host, pid, since = owner["host"], int(owner["pid"]), owner["since"]
    # The other process has only just locked it, or the file is not a lock of ours.
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
    words = f"process {pid} on {host}, since {since},"
    return printable(words)
