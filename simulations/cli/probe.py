"""``fedssl probe``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedssl.base.printable import printable
from simulations.cli.shared import (
    Device,
    Overrides,
    all_overrides,
    clear_errors,
    err,
    fail,
    out,
    print_own_code,
)

if TYPE_CHECKING:
    from rich.table import Table

    from simulations.probing.probe import Probed

DEFAULT = "linear,knn,rankme"


def probe(
    run_folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", help="The folder of a run, finished or not.", show_default=False
        ),
    ] = None,
    overrides: Overrides = None,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME]…",
            help="The protocols: names that `--list` explains, or `all`.",
        ),
    ] = DEFAULT,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Another run, for `sslmem` and `selection`; give it again for more.",
            show_default=False,
        ),
    ] = None,
    device: Device = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="List the protocols, and when to use which.")
    ] = False,
) -> None:
    """Evaluate a run's encoder by any protocol and on any examples.

    Prints the metrics and writes `RUN/probes/NAME.json`, for some protocols with a picture;
    nothing else in the run's folder changes. The encoder is that of the newest finished round.

    `data.…=` evaluates on other examples (a transfer): the files' names then end with `-on-` and
    the examples' name. `evaluation.…=` changes limits and other settings. To evaluate each round
    of a run, name the protocols in its config: `evaluation: {measures: [lidar, harm]}`.

    For example:

        fedssl probe --list
        fedssl probe runs/quickstart
        fedssl probe runs/quickstart --protocol harm,lidar,cka
        fedssl probe runs/cifar10 data.name=svhn data.root=data --protocol linear,knn
        fedssl probe runs/whole --protocol sslmem --against runs/without-client-3
    """
    with clear_errors():
        if show_list:
            out.print(_listing())
            return
        if run_folder is None:
            fail("which run? give its folder; `fedssl probe --list` lists what can be measured")
        from rich.text import Text

        from fedssl.evaluation import MEASURES
        from simulations.probing.probe import probe as measure

        for folder in (run_folder, *(against or ())):
            print_own_code(folder)

        names = [name.strip() for name in protocol.split(",") if name.strip()]
        if names == ["all"]:
            names = [name for name in MEASURES if name != "sslmem" or against]
        with err.status("loading the run") as status:
            doing = ""

            def on_start(name: str) -> None:
                nonlocal doing
                doing = f"{name} ({names.index(name) + 1} of {len(names)})"
                on_message("")
                if not err.is_terminal:
                    err.print(doing, markup=False)

            def on_message(text: str) -> None:
                status.update(Text(printable(f"{doing}: {text}" if text else doing)))

            done, refused = measure(
                run_folder,
                names,
                all_overrides(overrides, None, device),
                against or (),
                on_start=on_start,
                on_message=on_message,
            )
        if done:
            out.print(_table(done))
        for probed in done:
            for file in (probed.file, probed.picture):
                if file:
                    out.print(f"wrote {file}", markup=False, soft_wrap=True)
        if refused:
            fail("not measured:\n" + "\n".join(f"  {why}" for why in refused.values()))


def _listing() -> "Table":
    from rich.table import Table

    from fedssl.evaluation import MEASURES

    table = Table("protocol", "when to use it", box=None, pad_edge=False)
    for name in MEASURES:
        table.add_row(name, MEASURES.summary(name))
    return table


def _table(done: "list[Probed]") -> "Table":
    from rich.table import Table

    from simulations.record.metric_names import format_metric, metric_label

    table = Table("protocol", "figure", box=None, pad_edge=False)
    table.add_column("value", justify="right")
    table.add_column("seconds", justify="right")
    for probed in done:
        figures = [
            (metric_label(k), format_metric(k, v)) for k, v in probed.measured.figures.items()
        ]
        for place, (key, value) in enumerate(figures or [("", "")]):
            seconds = "" if place else f"{probed.seconds:.1f}"
            table.add_row("" if place else probed.protocol, key, value, seconds)
    return table
