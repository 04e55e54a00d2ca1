"""The command ``fedssl``.

    fedssl run configs/quickstart.yaml
    fedssl compare configs/quickstart.yaml --strategies fedavg,ldawa --seeds 3
    fedssl show configs/quickstart.yaml
    fedssl list

PyTorch and Flower take seconds to import, so each command imports what it needs when it runs.
"""

import logging
import os

import typer

from simulations.cli import (
    benching,
    comparing,
    deploying,
    exporting,
    looking,
    probing,
    replaying,
    running,
)

# Flower reports its use over the network unless told not to, before it is imported.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
# What Flower's own strategies log would break into the display, which tells the same.
# A filter, since Flower sets its logger's level anew when it is imported.
logging.getLogger("flwr").addFilter(lambda record: record.levelno >= logging.ERROR)

app = typer.Typer(
    name="fedssl",
    help="Study, compare and deploy federated self-supervised learning.",
    epilog="Start with: fedssl init my.yaml && fedssl run my.yaml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command()(running.run)
app.command()(comparing.compare)
app.command()(looking.show)
app.command()(looking.report)
app.command()(probing.probe)
app.command()(replaying.replay)
app.command()(replaying.audit)
app.command()(exporting.export)
app.command()(looking.init)
app.command("list")(looking.list_parts)
app.command()(looking.schema)
app.command()(deploying.certs)
app.command()(deploying.serve)
app.command()(deploying.join)
app.command()(benching.bench)
