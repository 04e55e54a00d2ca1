"""Text files that are never half written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a temporary file beside ``path``, which replaces it once all is written."""
    temporary = path.with_name(f".{path.name}.writing")
    with temporary.open("w", encoding="utf-8") as file:
        yield file
    temporary.replace(path)


def replace_text(path: Path, text: str) -> None:
    """Write a file to a temporary name beside it, then rename it."""
    with replacing(path) as file:
        file.write(text)
