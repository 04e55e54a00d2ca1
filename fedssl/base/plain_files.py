"""Read files that are not trusted: regular files only, and only up to a maximum size.

A folder, a pipe or a device is refused without waiting for it. Bytes that are not text, and JSON
that is nested too deeply, are refused, too.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from fedssl.base.errors import ConfigError

MEGABYTE = 2**20
_DEPTH = 16
"""The maximum nesting of JSON, some levels more than fedssl writes."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular_file(path: Path) -> BinaryIO:
    """Open a regular file to read its bytes.

    Raises
    ------
    ConfigError
        The file does not exist, cannot be opened, or is not a regular file.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise ConfigError(f"{path}: cannot be read: it is {kind}, where a file is due")
    return os.fdopen(number, "rb")


def check_regular_file(path: Path) -> None:
    """Raise the errors of `open_regular_file`, for libraries that open files themselves."""
    open_regular_file(path).close()


def read_text(path: Path, most: int = MEGABYTE) -> str:
    """Return the text of a UTF-8 file of at most ``most`` bytes.

    Raises
    ------
    ConfigError
        See `open_regular_file`; or the file is too large, or is not text.
    """
    with open_regular_file(path) as file:
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
        The text is not valid JSON, or is nested too deeply.

    Examples
    --------
    >>> parse_json('{"round": 3}', "plan.json")
    {'round': 3}
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
    """Return the content of a JSON file; a ConfigError names the file."""
    return parse_json(read_text(path, most), str(path))


def shorten(value: object, most: int = 80) -> str:
    """Return a value's ``repr``, cut after ``most`` characters, for a message.

    Examples
    --------
    >>> shorten("abcdef", 4)
    "'abc…"
    """
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
