"""The command `fedssl`, in this process."""

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from simulations.cli import app


def fedssl(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def wide_fedssl(*arguments: str | Path) -> Result:
    """Run it where tables have room."""
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "120"})
