"""Text files that are never half written."""

from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write a file to a temporary name beside it, then rename it."""
    temporary = path.with_name(f".{path.name}.writing")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
