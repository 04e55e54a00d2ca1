"""The console for all output: texts from outside cannot control the terminal."""

from typing import IO, Any

from rich.console import Console
from rich.text import Text

from fedssl.base.printable import escape_unsafe


class Terminal(Console):
    """A rich Console that prints every text as it is: no markup, no control of the terminal.

    Names of classes, files and runs, values of configs and errors of clients may hold brackets,
    colons, escape sequences and overrides of the reading direction.

    Parameters
    ----------
    stderr : bool
        Whether to print on standard error.
    file, width
        As for rich's Console.
    """

    def __init__(
        self, *, stderr: bool = False, file: IO[str] | None = None, width: int | None = None
    ):
        super().__init__(
            stderr=stderr, file=file, width=width, highlight=False, markup=False, emoji=False
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text for the screen; rich calls it for all that it prints, also for cells."""
        lines = text.replace("\t", "    ").split("\n")
        return super().render_str("\n".join(map(escape_unsafe, lines)), **options)
