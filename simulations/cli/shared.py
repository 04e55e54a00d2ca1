"""Common code of the commands: printing, errors and common arguments."""

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import click
import typer

from fedssl.base.printable import SPELL_OUT, printable_message
from simulations.progress.terminal import Terminal

if TYPE_CHECKING:
    from simulations.settings.experiment import Experiment

out = Terminal()
err = Terminal(stderr=True)

ConfigPath = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The experiment's YAML file.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Fields that differ from the file, such as `rounds=5 strategy.name=ldawa`.",
        show_default=False,
    ),
]
Engine = Annotated[
    str | None, typer.Option(help="Where the clients run; the same as `engine.name=…`.")
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="The run's folder. Default: the first free of `runs/NAME`, `runs/NAME-2`, …",
        show_default=False,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on after the last finished round of `--out`, or of the newest `runs/NAME`; "
        "the result is the same to the bit.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(help="`cpu` or `cuda`; the same as `engine.device=…`.", show_default=False),
]


def load(
    config: Path, overrides: list[str] | None, engine: str | None = None, device: str | None = None
) -> "Experiment":
    """Load the config with the command line's overrides."""
    from simulations.settings.experiment import load_experiment

    # A dotted path may name a module in the current folder, as `python -m` would find it.
    sys.path.append(os.getcwd())
    return load_experiment(config, all_overrides(overrides, engine, device))


def print_line(line: str) -> None:
    """Print a line as it is, without markup; a narrower terminal wraps it."""
    out.print(line, markup=False, soft_wrap=True)


def print_own_code(run: Path) -> None:
    """Print which of the user's own modules a run's config names, before any is imported."""
    from simulations.settings.own_code import own_code_of

    # A dotted path may name a module in the current folder, as `python -m` would find it.
    sys.path.append(os.getcwd())
    if (run / "config.yaml").is_file():
        for line in own_code_of(run):
            err.print(line, markup=False, style="dim", soft_wrap=True)


def all_overrides(overrides: list[str] | None, engine: str | None, device: str | None) -> list[str]:
    """Return the overrides, with those that ``--engine`` and ``--device`` stand for."""
    extra = [f"engine.name={engine}"] * bool(engine) + [f"engine.device={device}"] * bool(device)
    return [*(overrides or []), *extra]


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print errors that the user can fix without a traceback, which `--debug` shows."""
    try:
        yield
    except Exception as error:
        from fedssl.base.import_path import user_code_location
        from simulations import ConfigError, RunError

        place = user_code_location(error)
        can_be_fixed = isinstance(error, (ConfigError, RunError, OSError))
        if _is_debugging() or not (can_be_fixed or place):
            raise
        message = str(error) if can_be_fixed else f"{type(error).__name__}: {error}"
        if place:
            # Python tells a syntax error's place in the message, too.
            message = re.sub(r" \([^()]*, line \d+\)$", "", message)
            message += f"\n  in {place}; `fedssl --debug …` shows the whole traceback"
        # A service restarts after exit code 1, and can resume the run.
        fail(message, 1 if isinstance(error, RunError) else 2)


def _is_debugging() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().params.get("debug"))


def tolerate_any_encoding() -> None:
    """Replace characters that a terminal or file cannot encode, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SPELL_OUT)


def fail(message: str, code: int = 2) -> NoReturn:
    """Print an error message, and end the command.

    Parameters
    ----------
    message : str
        The problem and its fix.
    code : int (default: 2)
        The exit code: 2 if the same command will fail again, 1 if it may succeed.
    """
    err.print("error:", style="bold red", end=" ")
    err.print(printable_message(message), soft_wrap=True)
    raise typer.Exit(code)
