"""``fedssl list``: all plug-ins that a config may name."""

import sys
from typing import Annotated

import typer

from simulations.cli.shared import clear_errors, out


def list_plugins(
    as_markdown: Annotated[
        bool,
        typer.Option(
            "--markdown", help="Print a page in Markdown, with the fields of each: the reference."
        ),
    ] = False,
) -> None:
    """List every name that a config may hold, with a line on when to use it.

    Wherever a config holds one of these names, except engines, a dotted path such as
    `my_module.MyClass` works too.

    For example:

        fedssl list
        fedssl list --markdown > reference.md
    """
    with clear_errors():
        from simulations.reports.listing import listing, markdown

        if as_markdown:
            sys.stdout.write(markdown())
        else:
            out.print(listing())
