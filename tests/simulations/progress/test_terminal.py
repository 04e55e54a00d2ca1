"""What is printed is text, whoever wrote it."""

import io

from rich.table import Table

from simulations.progress.terminal import Terminal

HOSTILE = "[red]dog[/red] :cat: \x1b[2J\x1b]0;title\x07 \u202egod \x9b31m"
SHOWN = r"[red]dog[/red] :cat: \x1b[2J\x1b]0;title\x07 \u202egod \x9b31m"


def test_neither_markup_nor_escape_sequences_are_obeyed() -> None:
    file = io.StringIO()
    console = Terminal(file=file, width=200)
    table = Table(HOSTILE, box=None)
    table.add_row(HOSTILE)
    console.print(HOSTILE)
    console.print(table)
    console.print("two\nlines")
    assert file.getvalue().count(SHOWN) == 3
    assert "two\nlines" in file.getvalue()
