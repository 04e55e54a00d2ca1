"""Measure what fedssl's developers want to know, beside ``fedssl bench``.

    make bench                                   # a million clients, and every measure
    make bench AGAINST=flower,pfl,lightly        # the peers, too
    make bench JSON=bench.json                   # the measurements are written there, too
    make bench GROWTH=growth                     # instead, how cost grows: a picture and JSON

It is ``python -m tests.benchmarks`` with ``--against``, ``--json`` and ``--growth``.
"""

from pathlib import Path
from typing import Annotated

import typer

from fedssl.base.fields import suggest_name
from simulations.bench import Benchmark, Measurement
from simulations.cli.bench import JsonFile, check_json_file, measure_and_print, show_measuring
from simulations.cli.shared import clear_errors, fail, out
from tests.benchmarks import metric_costs, million
from tests.benchmarks.against import PEERS
from tests.benchmarks.growth import growth

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    against: Annotated[
        str,
        typer.Option(
            metavar="PEER[,PEER]",
            help="Also measure `flower` (its simulation), `pfl` (Apple's) and `lightly`; one that "
            "is not installed is skipped with the reason.",
            show_default=False,
        ),
    ] = "",
    json_file: JsonFile = None,
    growth_folder: Annotated[
        Path | None,
        typer.Option(
            "--growth",
            help="Measure instead how time and memory grow with clients per round, model size and "
            "example size, and write `growth.png` and `growth.json` there.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure a million clients, every measure, and peers; or how cost grows."""
    with clear_errors():
        names = [name.strip() for name in against.split(",") if name.strip()]
        for name in names:
            if name not in PEERS:
                fail(f"--against {name}: there is no such peer; {suggest_name(name, list(PEERS))}")
        if growth_folder and (json_file or names):
            fail("--growth writes growth.json and meets no peers; leave out --json and --against")
        check_json_file(json_file)
        if growth_folder is None:
            measure_and_print(benchmarks(names), json_file)
            return
        with show_measuring() as show:
            growth(growth_folder, on_start=lambda what, n, of: show(f"{what} ({n} of {of})"))
        out.print(f"picture: {growth_folder / 'growth.png'}", markup=False, soft_wrap=True)


def benchmarks(peers: list[str]) -> dict[str, Benchmark]:
    """Return the benchmarks by their descriptions.

    Parameters
    ----------
    peers : list[str]
        Names of `PEERS`; those that are not installed make a figure that says so.
    """
    chosen: dict[str, Benchmark] = {
        "every measure": lambda: metric_costs.each_measure(10_000, 512, times=3),
        "a million clients": million.start,
    }
    for name in peers:
        missing, measure = PEERS[name]
        if reason := missing():
            skipped = Measurement(f"against {name}", "", note=f"not measured: {reason}")
            chosen[f"against {name}"] = lambda skipped=skipped: [skipped]  # type: ignore[misc]
        else:
            chosen[f"against {name}"] = measure
    return chosen


if __name__ == "__main__":
    app()
