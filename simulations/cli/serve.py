"""``fedssl serve``: the server of a federation of devices."""

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
    load,
)


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
    config's own examples, and writes the same run folder and report as `fedssl run`. Clients prove
    who they are by their keys: there are those that have a `client-N/client.pub` in `--pki`. One
    that is added there takes part from the next round on, one that is removed does no longer.

    A round goes on once `engine.min_clients` answered within `engine.round_timeout` seconds. With
    fewer for `engine.give_up_after` seconds the run stops, and `--resume` goes on from there.

    For example:

        fedssl serve configs/quickstart.yaml --pki pki/ --port 9092
    """
    with clear_errors():
        from simulations.cli.run import run_into
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
