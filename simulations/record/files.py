"""Replace files atomically; see `fedssl.base.files`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from fedssl.base import files


@contextmanager
def atomic_text(path: Path) -> Iterator[TextIO]:
    """Return a context with a temporary text file that replaces ``path`` at the end."""
    with files.atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file


def replace_text(path: Path, text: str) -> None:
    """Replace a file by a text, as UTF-8."""
    with atomic_text(path) as file:
        file.write(text)


def replace_bytes(path: Path, content: bytes) -> None:
    """Replace a file by bytes."""
    with files.atomic_write(path) as temporary:
        temporary.write_bytes(content)
