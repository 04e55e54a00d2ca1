"""``fedssl bench``."""

from pathlib import Path
from typing import Annotated

import typer

from simulations.cli.shared import clear_errors, err, fail, out


def bench(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Fewer and smaller measurements, under a minute; no peers."),
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the figures to this file, too.", show_default=False),
    ] = None,
    peers: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="PEER[,PEER]",
            help="Also measure `flower` (its simulation), `pfl` (Apple's) and `lightly`; one that "
            "is not installed is skipped with the reason.",
            show_default=False,
        ),
    ] = None,
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
    """Measure how fast fedssl is on this machine, against references measured in the same run.

    A ratio is ours divided by the reference's; the spread is half the distance of its quartiles.
    The whole takes about ten minutes, and as long again with peers. Let nothing else run meanwhile.

    For example:

        fedssl bench --quick
        fedssl bench --json bench.json --against flower,pfl,lightly
        fedssl bench --growth growth/
    """
    with clear_errors():
        from rich.text import Text

        from fedssl.fields import nearest
        from simulations.bench import bench as measure
        from simulations.bench.against import PEERS
        from simulations.bench.growth import growth
        from simulations.bench.table import as_json, as_table
        from simulations.files import replace_text

        names = [name.strip() for name in (peers or "").split(",") if name.strip()]
        for name in names:
            if name not in PEERS:
                fail(f"--against {name}: there is no such peer; {nearest(name, list(PEERS))}")
        if quick and names:
            fail("--quick measures against no peers; leave out --quick or --against")
        if growth_folder and (json_file or names):
            fail("--growth writes growth.json and meets no peers; leave out --json and --against")
        if json_file and not json_file.absolute().parent.is_dir():
            fail(f"--json {json_file}: there is no such folder")
        with err.status("measuring") as status:

            def began(name: str) -> None:
                status.update(Text(f"measuring {name}"))
                if not err.is_terminal:
                    err.print(f"measuring {name}")

            if growth_folder:
                growth(growth_folder, quick, lambda what, n, of: began(f"{what} ({n} of {of})"))
                out.print(f"picture: {growth_folder / 'growth.png'}", markup=False, soft_wrap=True)
                return
            figures = measure(quick=quick, peers=names, began=began)
        out.print(as_table(figures))
        if json_file:
            replace_text(json_file, as_json(figures))
