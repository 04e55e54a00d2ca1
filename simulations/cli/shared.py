"""What the commands share: where they print, how they fail, and common arguments."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

if TYPE_CHECKING:
    from simulations.experiment import Experiment

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

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
    from simulations.experiment import load_experiment

    # A dotted path may name a module beside the person, as `python -m` would find it.
    sys.path.append(os.getcwd())
    return load_experiment(config, all_overrides(overrides, engine, device))


def say_own_code(run: Path) -> None:
    """Say which of a person's own modules a run's config names, before any of them is imported."""
    from simulations.own_code import own_code_of

    # A dotted path may name a module beside the person, as `python -m` would find it.
    sys.path.append(os.getcwd())
    if (run / "config.yaml").is_file():
        for line in own_code_of(run):
            err.print(line, markup=False, style="dim", soft_wrap=True)


def all_overrides(overrides: list[str] | None, engine: str | None, device: str | None) -> list[str]:
    """Return the overrides, and those options that are another way to write one."""
    extra = [f"engine.name={engine}"] * bool(engine) + [f"engine.device={device}"] * bool(device)
    return [*(overrides or []), *extra]


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print what a person can mend as a message, without a traceback."""
    try:
        yield
    except Exception as error:
        from simulations import ConfigError, RunError

        if not isinstance(error, (ConfigError, RunError, OSError)):
            raise
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Print a message for the person, and end with exit code 2."""
    from fedssl.plain_files import printable

    err.print("[bold red]error:[/] ", end="")
    # It may quote files that others have written.
    err.print(printable(message), markup=False, soft_wrap=True)
    raise typer.Exit(2)


def end_in_order() -> None:
    """Take what stops a service or a cluster's job for Ctrl-C, also in a shell's background."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
