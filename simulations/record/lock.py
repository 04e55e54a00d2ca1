"""Who writes in a folder: one process at a time."""

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
    """Another process writes there; nothing was written."""


@contextmanager
def locked(folder: Path, said: Callable[[str], None], name: str = LOCK) -> Iterator[None]:
    """Let no other process write in a folder, which is made where it is not there.

    The lock is one of the operating system's (flock) on a file that names host, process and start.
    It ends with the process, however that ends; the file is removed at the end, and so is a folder
    that was made and stayed empty. Readers need no lock.

    Parameters
    ----------
    folder : Path
        Where to write.
    said : Callable[[str], None]
        Told where the file system has no such locks; then nobody is kept out.
    name : str (default: ".lock")
        The file's. Those who are to exclude each other use the same.

    Raises
    ------
    LockedError
        Names who has it.
    WriteError
        Nothing can be written there.
    """
    file = folder / name
    with name_write_errors(file):
        made = _make(folder)
    try:
        with name_write_errors(file):
            handle = lock_file(file)
    except NoLocksError:
        file.unlink(missing_ok=True)
        said(f"{folder}: this file system has no locks: see that nothing else writes there")
        handle = -1
    except BaseException:
        _remove_empty(made)
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
        _remove_empty(made)


def is_held(folder: Path) -> bool:
    """Say whether a process writes in a folder now.

    Raises
    ------
    OSError
        It cannot be told: the file cannot be opened, or there are no locks here.
    """
    file = folder / LOCK
    return file.exists() and is_locked(file)


def is_passing(name: str) -> bool:
    """Tell whether a file is a lock, or what a writer left that was killed: neither is content."""
    return _LOCKS.fullmatch(name) is not None or is_leftover(name)


def _make(folder: Path) -> list[Path]:
    """Make a folder; return those that were not there, the innermost first."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _sign(handle: int) -> None:
    """Write who we are; a disk that is full must not keep anybody from reading the rest."""
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    told = {"host": platform.node(), "pid": os.getpid(), "since": since}
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps(told).encode() + b"\n")


def _holder(file: Path) -> str:
    try:
        told = json.loads(file.read_bytes())
        host, pid, since = told["host"], int(told["pid"]), told["since"]
    # It has it since this moment, or is not ours.
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
    words = f"process {pid} on {host}, since {since},"
    return printable(words)
