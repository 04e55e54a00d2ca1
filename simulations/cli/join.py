"""``fedssl join``: a device of a federation."""

from pathlib import Path
from typing import Annotated

import typer

from simulations.cli.interrupts import stop_like_ctrl_c
from simulations.cli.shared import clear_errors, err, fail, print_line


def join(
    server: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where the server listens.", show_default=False),
    ] = None,
    pki: Annotated[
        Path | None,
        typer.Option(help="This client's folder of keys, such as `client-0`.", show_default=False),
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            "--examples",
            "--images",
            help="The folder or file of this device's examples: images, or series. They never "
            "leave it. (`--images` is its former name.)",
            show_default=False,
        ),
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Make this device's key in a folder, and a request for `fedssl certs --sign` on "
            "the server; nothing else. So the key never travels.",
            show_default=False,
        ),
    ] = None,
    state: Annotated[
        Path, typer.Option(help="Where to keep what this client remembers from round to round.")
    ] = Path("fedssl-state"),
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="See that the examples can be read, the server is reached and accepts the key, "
            "and how clock and versions differ from the server's; train nothing.",
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="`auto`, `cpu` or `cuda`.")] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Use only so many cores. Default: all.", show_default=False),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Take at most so many MB for training. Default: no limit.",
            show_default=False,
        ),
    ] = None,
    disk: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Keep at most so many MB in `--state`. Default: no limit.",
            show_default=False,
        ),
    ] = None,
    health: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="A port of this machine for gRPC health checks. Default: none.",
            show_default=False,
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE",
            help="A module of yours that the server's config may name by a dotted path.",
            show_default=False,
        ),
    ] = None,
    trusted_entities: Annotated[
        Path | None,
        typer.Option(
            help="Flower's YAML file of public keys: run apps that the server sends if one of "
            "these signed them, in place of the client that is installed here.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Take part in a federation with the examples of this device.

    Starts Flower's SuperNode, and trains whenever the server asks, until stopped; a server that
    goes away is waited for. Only weights, counts and scalar metrics are sent. Of the server's code
    nothing is run: the client that is installed here trains, if it has the server's version.

    For example:

        fedssl join --request client/
        fedssl join --server server.example.org:9092 --pki client/ --examples photos/ --check
        fedssl join --server server.example.org:9092 --pki client/ --examples photos/
    """
    with clear_errors():
        if request is not None:
            from clients.request import make_request

            for line in make_request(request):
                print_line(line)
            return
        if server is None or pki is None or examples is None:
            given = {"--server": server, "--pki": pki, "--examples": examples}
            missing = [option for option, value in given.items() if value is None]
            fail(f"give {' and '.join(missing)}: fedssl join --help shows examples")
        from clients.join import prepare_participation
        from clients.message_handler import JoinError
        from clients.network import Unreachable

        stop_like_ctrl_c()
        try:
            participation = prepare_participation(
                server,
                pki,
                examples,
                state,
                device=device,
                threads=threads,
                memory=memory,
                disk=disk,
                health=health,
                allow=allow or [],
                trusted=trusted_entities,
                on_message=print_line,
            )
            if check:
                for line in participation.check():
                    print_line(f"ok  {line}")
            else:
                participation.run()
        except ValueError as error:
            fail(str(error))
        except (JoinError, Unreachable) as error:
            fail(str(error), 1)
        except KeyboardInterrupt:
            err.print("left the federation", markup=False)
            raise typer.Exit(130) from None
