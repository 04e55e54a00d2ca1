"""``fedssl init``: a config to start from."""

from pathlib import Path
from typing import Annotated

import typer

from simulations.cli.shared import fail, print_line


def init(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write, such as my.yaml.")
    ],
) -> None:
    """Write a commented config to start from: an experiment that runs as it is, in minutes."""
    from simulations.record.files import replace_text

    if path.exists():
        fail(f"{path}: exists already; give a name that is free")
    starter = Path(__file__).parents[1] / "starter.yaml"
    try:
        replace_text(path, starter.read_text(encoding="utf-8"))
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror}")
    print_line(f"wrote {path}; run it with: fedssl run {path}")
