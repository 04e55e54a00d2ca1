"""``fedssl status``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from simulations.cli.shared import clear_errors, fail, out

if TYPE_CHECKING:
    from simulations.deployment.status import ClientStatus, Status


def status(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="The run's folder.", show_default=False),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Ask a server for it, at the address of its `--metrics`.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show who is in a federation, and how far it is.

    A line for each client: whether it may take part, whether it is connected, when it was seen
    last, how many examples it has, in how many rounds its model counted, and why it failed last. A
    client that is here may be up to a minute gone before Flower notices.

    For example:

        fedssl status runs/my
        fedssl status --server localhost:9100
    """
    with clear_errors():
        if (run is None) == (server is None):
            fail("give the run's folder, or --server HOST:PORT")
        from simulations.deployment.status import ask_server, read_run

        if run is not None:
            found, how = read_run(run)
        else:
            found, how = ask_server(str(server))
        out.print(how, markup=False, soft_wrap=True)
        if found.clients:
            out.print(_table(found))


def _table(status: "Status") -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("client", "member", "here", "last seen", "examples", "rounds", "last failure"):
        table.add_column(heading, justify="right" if heading in ("examples", "rounds") else "left")
    for number, client in sorted(status.clients.items()):
        table.add_row(str(number), *_cells(client))
    return table


def _cells(client: "ClientStatus") -> list[str]:
    from fedssl.base.printable import printable

    failure = ""
    if client.failure:
        when = "" if client.failure.round is None else f"round {client.failure.round}: "
        failure = f"{when}{client.failure.why}"
    return [
        "yes" if client.member else "no",
        "yes" if client.here else "no",
        printable((client.last_seen or "never")[:19].replace("T", " ")),
        str(client.examples),
        str(client.rounds),
        printable(failure),
    ]
