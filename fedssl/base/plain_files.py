"""Read files that others may have written: plain ones only, and never more than they may hold.

A folder, a pipe or a device in a file's place is refused and not waited for; so are bytes that are
no text, and JSON that is nested without end.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from fedssl.base.errors import ConfigError

MEGABYTE = 2**20
_DEPTH = 16
"""The deepest nesting of any JSON that fedssl writes, and some more."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_plain(path: Path) -> BinaryIO:
    """Open a file to read its bytes.

    Raises
    ------
    ConfigError
        There is none, it cannot be opened, or it is no plain file.
    """
    try:
        # Without O_NONBLOCK a pipe would be waited for.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise ConfigError(f"{path}: cannot be read: it is {kind}, where a file is due")
    return os.fdopen(number, "rb")


def check_plain(path: Path) -> None:
    """Refuse what `open_plain` does, for libraries that open a file themselves."""
    open_plain(path).close()


def read_text(path: Path, most: int = MEGABYTE) -> str:
    """Return a file's text, of at most so many bytes in UTF-8.

    Raises
    ------
    ConfigError
        See `open_plain`; or it is larger, or no text.
    """
    with open_plain(path) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise ConfigError(f"{path}: cannot be read: it is larger than {most / MEGABYTE:g} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise ConfigError(f"{path}, line {line}: is not a text in UTF-8") from None


def parse_json(text: str, source: str) -> Any:
    """Parse JSON; ``source`` names it in errors.

    Raises
    ------
    ConfigError
        It is none, or nested deeper than anything that fedssl writes.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: is not valid JSON: {error}") from None
    level, depth = [values], 0
    while level := [v for v in level if isinstance(v, (dict, list))]:
        depth += 1
        if depth > _DEPTH:
            raise ConfigError(f"{source}: is nested more than {_DEPTH} deep")
        level = [w for v in level for w in (v.values() if isinstance(v, dict) else v)]
    return values


def read_json(path: Path, most: int = MEGABYTE) -> Any:
    """Return what a JSON file holds; a ConfigError names the file."""
    return parse_json(read_text(path, most), str(path))


def short(value: object, most: int = 80) -> str:
    """Return a value as a message can quote it: on one line, and not all of a long one."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
