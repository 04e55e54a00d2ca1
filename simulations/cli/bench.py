"""``fedssl bench``."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulations.cli.shared import clear_errors, err, fail, out

if TYPE_CHECKING:
    from simulations.bench import Measure

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", help="Write the figures to this file, too.", show_default=False),
]


def bench(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Fewer and smaller measurements, under a minute."),
    ] = False,
    json_file: JsonFile = None,
    moved: Annotated[str | None, typer.Option("--against", "--growth", hidden=True)] = None,
) -> None:
    """Measure how fast fedssl is on this machine, against references measured in the same run.

    A ratio is ours divided by the reference's; the spread is half the distance of its quartiles.
    The whole takes about ten minutes. Let nothing else run meanwhile.

    For example:

        fedssl bench --quick
        fedssl bench --json bench.json
    """
    with clear_errors():
        from simulations.bench import measures

        if moved is not None:
            fail(
                "--against and --growth are no options of `fedssl bench`: in a checkout of fedssl, "
                "`make bench AGAINST=flower,pfl,lightly` measures peers, and "
                "`make bench GROWTH=FOLDER` how cost grows"
            )
        check_json_file(json_file)
        measure_and_print(measures(quick=quick), json_file)


def check_json_file(json_file: Path | None) -> None:
    """Fail where the figures could not be written in the end."""
    if json_file and not json_file.absolute().parent.is_dir():
        fail(f"--json {json_file}: there is no such folder")


@contextmanager
def show_measuring() -> Iterator[Callable[[str], None]]:
    """Show what is being measured, by the name that the function given is called with."""
    from rich.text import Text

    with err.status("measuring") as status:

        def show(name: str) -> None:
            status.update(Text(f"measuring {name}"))
            if not err.is_terminal:
                err.print(f"measuring {name}")

        yield show


def measure_and_print(measures: Mapping[str, "Measure"], json_file: Path | None) -> None:
    """Measure, print the figures as a table, and write them where a file is given."""
    from simulations.bench import measure_all
    from simulations.bench.table import as_json, as_table
    from simulations.record.files import replace_text

    with show_measuring() as show:
        figures = measure_all(measures, show)
    out.print(as_table(figures))
    if json_file:
        replace_text(json_file, as_json(figures))
