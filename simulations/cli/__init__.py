"""The command ``fedssl``.

    fedssl run configs/quickstart.yaml
    fedssl compare configs/quickstart.yaml --strategies fedavg,ldawa --seeds 3
    fedssl show configs/quickstart.yaml
    fedssl list

PyTorch and Flower take seconds to import, so each command imports what it needs when it runs.
"""

import logging
import os
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

from clients.network import spare_loopback
from fedssl.base.fields import suggest_name
from fedssl.base.printable import printable
from simulations.cli import (
    bench,
    certs,
    compare,
    export,
    init,
    join,
    list_plugins,
    probe,
    replay,
    report,
    run,
    schema,
    serve,
    show,
    status,
)
from simulations.cli.interrupts import lose_no_ctrl_c
from simulations.cli.shared import tolerate_any_encoding

# Flower reports its use over the network unless told not to, before it is imported.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
# What Flower's own strategies log would break into the display, which tells the same.
# A filter, since Flower sets its logger's level anew when it is imported.
logging.getLogger("flwr").addFilter(lambda record: record.levelno >= logging.ERROR)

spare_loopback(os.environ)
# Pictures are drawn into files. A notebook's setting would ask for a package of the notebook's.
os.environ["MPLBACKEND"] = "agg"


class _Commands(TyperGroup):
    """The commands; ``--debug`` may stand before or after one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--debug" in args:
            args = ["--debug", *(argument for argument in args if argument != "--debug")]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            name = printable(args[0], 60)
            ctx.fail(f"there is no command {name}; {suggest_name(name, list(self.commands))}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="fedssl",
    cls=_Commands,
    help="Study, compare and deploy federated self-supervised learning.",
    epilog="Start with: fedssl init my.yaml && fedssl run my.yaml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@app.callback()
def _everywhere(
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Where something fails, print the whole traceback."),
    ] = False,
) -> None:
    tolerate_any_encoding()
    lose_no_ctrl_c()


app.command()(run.run)
app.command()(compare.compare)
app.command()(show.show)
app.command()(report.report)
app.command()(probe.probe)
app.command()(replay.replay)
app.command()(replay.audit)
app.command()(export.export)
app.command()(init.init)
app.command("list")(list_plugins.list_plugins)
app.command()(schema.schema)
app.command()(certs.certs)
app.command()(serve.serve)
app.command()(join.join)
app.command()(status.status)
app.command()(bench.bench)
