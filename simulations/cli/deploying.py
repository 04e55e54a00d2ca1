"""``fedssl certs``, ``serve`` and ``join``: a federation of real devices."""

from pathlib import Path
from typing import Annotated

import typer

from simulations.cli.shared import (
    ConfigPath,
    Device,
    OutFolder,
    Overrides,
    Resume,
    clear_errors,
    end_in_order,
    err,
    fail,
    load,
    out,
)


def certs(
    folder: Annotated[
        Path, typer.Option("--out", help="The folder of the keys; made if need be.")
    ] = Path("pki"),
    clients: Annotated[
        int, typer.Option(min=1, help="How many clients there are to be.", show_default=False)
    ] = ...,  # type: ignore[assignment]
    hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            help="A name or address by which clients reach the server; give it again for more. "
            "`localhost` is always among them.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the keys and certificates of a federation.

    Writes an authority (`ca.crt`, `ca.key`), the server's certificate, and for each client a
    folder `client-N` with its own key pair; private files are for their owner only. Called again,
    it keeps all keys, adds those of more clients, and renews the server's certificate.

    Bring each `client-N` to its device over a safe way, and leave only `client-N/client.pub` here.
    To revoke a client, delete its `client-N` here and restart `fedssl serve`.

    For example:

        fedssl certs --host server.example.org --clients 3 --out pki/
    """
    with clear_errors():
        from simulations.deployment.pki import make_pki

        for path in make_pki(folder, clients, hosts or []):
            out.print(f"wrote {path}", markup=False, soft_wrap=True)


def serve(
    config: ConfigPath,
    overrides: Overrides = None,
    pki: Annotated[Path, typer.Option(help="The folder that `fedssl certs` made.")] = Path("pki"),
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Where clients connect, over gRPC and TLS.")
    ] = 9092,
    health: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="A port for gRPC health checks. Default: none.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT",
            help="Serve figures over HTTP: `/metrics` for Prometheus, `/status` as JSON. On the "
            "loopback device unless HOST says otherwise. Default: nowhere.",
            show_default=False,
        ),
    ] = None,
    device: Device = None,
    out_folder: OutFolder = None,
    resume: Resume = False,
) -> None:
    """Serve an experiment to real devices, each of which runs `fedssl join`.

    Starts Flower's SuperLink, waits for the clients, runs the rounds, probes the encoder on the
    config's own images, and writes the same run folder and report as `fedssl run`. Clients prove
    who they are by their keys: there are those that have a `client-N/client.pub` in `--pki`. One
    that is added there takes part from the next round on, one that is removed does no longer.

    A round goes on once `engine.min_clients` answered within `engine.round_timeout` seconds. With
    fewer for `engine.give_up_after` seconds the run stops, and `--resume` goes on from there.

    For example:

        fedssl serve configs/quickstart.yaml --pki pki/ --port 9092
    """
    with clear_errors():
        from simulations.cli.running import run_into
        from simulations.deployment.metrics import Address
        from simulations.deployment.pki import ServerKeys
        from simulations.deployment.serve import serve as serve_experiment
        from simulations.deployment.superlink import Ports

        keys = ServerKeys(pki)
        # How many clients there are is not for the config to say, which may leave it out.
        clients = f"partition.clients={max(1, len(keys.public_key_files()))}"
        experiment = load(config, [*(overrides or []), clients], "flower", device)
        address = None if metrics is None else Address.parse(metrics)
        again = ["fedssl", "serve", str(config), *(overrides or [])]
        again += ["--pki", str(pki), "--port", str(port)]
        with run_into(config, out_folder, resume, again) as (folder, display):
            serve_experiment(
                experiment,
                folder,
                keys,
                Ports(port, health),
                resume=resume,
                metrics=address,
                display=display,
            )


def join(
    server: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the server listens.", show_default=False)
    ],
    pki: Annotated[
        Path,
        typer.Option(help="This client's folder of keys, such as `client-0`.", show_default=False),
    ],
    images: Annotated[
        Path,
        typer.Option(
            help="The folder of this device's images, or an `.npz` file. They never leave it.",
            show_default=False,
        ),
    ],
    state: Annotated[
        Path, typer.Option(help="Where to keep what this client remembers from round to round.")
    ] = Path("fedssl-state"),
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="See that the server is reached, the key accepted, the images readable and the "
            "versions equal; train nothing.",
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
    """Take part in a federation with the images of this device.

    Starts Flower's SuperNode, and trains whenever the server asks, until stopped; a server that
    goes away is waited for. Only weights, counts and scalar metrics are sent. Of the server's code
    nothing is run: the client that is installed here trains, if it has the server's version.

    For example:

        fedssl join --server server.example.org:9092 --pki client-0 --images photos/ --check
        fedssl join --server server.example.org:9092 --pki client-0 --images photos/
    """
    with clear_errors():
        from clients.join import JoinError, prepare_joining

        end_in_order()
        try:
            joining = prepare_joining(
                server,
                pki,
                images,
                state,
                device=device,
                threads=threads,
                memory=memory,
                disk=disk,
                health=health,
                allow=allow or [],
                trusted=trusted_entities,
                told=lambda text: out.print(text, markup=False, soft_wrap=True),
            )
            if check:
                for line in joining.check():
                    out.print(f"ok  {line}", markup=False, soft_wrap=True)
            else:
                joining.run()
        except (ValueError, JoinError) as error:
            fail(str(error))
        except KeyboardInterrupt:
            err.print("left the federation", markup=False)
            raise typer.Exit(130) from None
