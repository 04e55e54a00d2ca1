"""``fedssl bench``."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulations.cli.shared import clear_errors, err, fail, out

if TYPE_CHECKING:
    from simulations.bench import Benchmark

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", help="Write the measurements to this file, too.", show_default=False),
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

    A ratio is our value divided by the reference's; the spread is half its interquartile range.
    All of it takes about ten minutes. Run nothing else meanwhile.

    For example:

        fedssl bench --quick
        fedssl bench --json bench.json
    """
    with clear_errors():
        from simulations.bench import benchmarks

        if moved is not None:
            fail(
                "--against and --growth are no options of `fedssl bench`: in a checkout of fedssl, "
                "`make bench AGAINST=flower,pfl,lightly` measures peers, and "
                "`make bench GROWTH=FOLDER` how cost grows"
            )
        check_json_file(json_file)
        measure_and_print(benchmarks(quick=quick), json_file)


def check_json_file(json_file: Path | None) -> None:
    """Fail early if the measurements could not be written."""
    if json_file and not json_file.absolute().parent.is_dir():
        fail(f"--json {json_file}: there is no such folder")


@contextmanager
def show_measuring() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows the name of the benchmark that runs now."""
    from rich.text import Text

    with err.status("measuring") as status:

        def show(name: str) -> None:
            status.update(Text(f"measuring {name}"))
            if not err.is_terminal:
                err.print(f"measuring {name}")

        yield show


def measure_and_print(benchmarks: Mapping[str, "Benchmark"], json_file: Path | None) -> None:
    """Run benchmarks, print the measurements, and write them to a file if one is given."""
    from simulations.bench import measure_all
    from simulations.bench.table import as_json, as_table
    from simulations.record.files import replace_text

    with show_measuring() as show:
        measurements = measure_all(benchmarks, show)
    out.print(as_table(measurements))
    if json_file:
        replace_text(json_file, as_json(measurements))
