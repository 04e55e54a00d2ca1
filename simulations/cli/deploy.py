"""``fedssl certs``, ``serve`` and ``join``: a federation of real devices."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulations.cli.interrupts import stop_like_ctrl_c
from simulations.cli.shared import (
    ConfigPath,
    Device,
    OutFolder,
    Overrides,
    Resume,
    clear_errors,
    err,
    fail,
    load,
    out,
)

if TYPE_CHECKING:
    from simulations.deployment.pki import ServerKeys


def certs(
    folder: Annotated[
        Path, typer.Option("--out", help="The folder of the keys; made if need be.")
    ] = Path("pki"),
    clients: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many clients there are to be in all; keys are made for those that are "
            "missing.",
            show_default=False,
        ),
    ] = None,
    hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            help="A name or address by which clients reach the server; give it again for more. "
            "`localhost` is always among them. Default: those of the certificate that is there.",
            show_default=False,
        ),
    ] = None,
    signed: Annotated[
        list[Path] | None,
        typer.Option(
            "--sign",
            metavar="REQUEST",
            help="A `client.request` that a device made by `fedssl join --request`: make it a "
            "client. Give it again for more.",
            show_default=False,
        ),
    ] = None,
    revoked: Annotated[
        list[int] | None,
        typer.Option(
            "--revoke",
            metavar="NUMBER",
            help="A client that is to take part no more. Give it again for more.",
            show_default=False,
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Show all clients that there ever were.")
    ] = False,
) -> None:
    """Make the keys and certificates of a federation.

    Writes an authority (`ca.crt`, `ca.key`), the server's certificate, and for each client a
    folder `client-N` with its own key pair; private files are for their owner only. Called again,
    it keeps all keys and adds those of more clients. Without `--clients`, or with `--host`, it
    renews the server's certificate. No number is ever given twice.

    Bring each `client-N` to its device over a safe way, and leave only `client-N/client.pub` here.
    Safer, have the device make its key by `fedssl join --request`, and answer by `--sign`.

    For example:

        fedssl certs --host server.example.org --clients 3 --out pki/
        fedssl certs --sign client.request --out pki/
        fedssl certs --revoke 1 --out pki/
        fedssl certs --list --out pki/
    """
    with clear_errors():
        from simulations.deployment.pki import ServerKeys, make_pki, revoke, sign

        if sum([clients is not None or bool(hosts), bool(signed), bool(revoked), listed]) > 1:
            fail("--sign, --revoke and --list each stand alone, without --clients and --host")
        keys = ServerKeys(folder)
        if signed:
            for number, fingerprint in sign(folder, signed).items():
                own = keys.client(number)
                _say(f"client {number}: its key's fingerprint is {fingerprint}")
                _say(
                    f"bring {own.public} and {own.root_certificate} to the device, beside its "
                    "client.key; neither is secret"
                )
            _say(keys.validity()[1])
            _say(
                "compare both fingerprints with the device's owner by phone; there, `openssl x509 "
                "-noout -fingerprint -sha256 -in ca.crt` shows the second"
            )
        elif revoked:
            revoke(folder, revoked)
            for number in revoked:
                _say(f"client {number} is revoked; a running fedssl serve notices within seconds")
        elif listed:
            keys.check_folder()
            for line in _table(keys):
                _say(line)
        else:
            for path in make_pki(folder, clients, hosts or []):
                _say(f"wrote {path}")
            for line in keys.validity():
                _say(line)


def _table(keys: "ServerKeys") -> Iterator[str]:
    form = "{:>6}  {:<95}  {:<10}  {}".format
    yield form("number", "fingerprint", "given", "revoked")
    for number, client in sorted(keys.numbers().all.items()):
        given, revoked = (client.given or "unknown")[:10], (client.revoked or "")[:10]
        if not revoked and not keys.is_member(client):
            revoked = "no, but its client.pub is not here"
        yield form(number, client.fingerprint or "unknown", given, revoked or "no")


def _say(line: str) -> None:
    out.print(line, markup=False, soft_wrap=True)


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
                _say(line)
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
                on_message=lambda text: out.print(text, markup=False, soft_wrap=True),
            )
            if check:
                for line in participation.check():
                    out.print(f"ok  {line}", markup=False, soft_wrap=True)
            else:
                participation.run()
        except ValueError as error:
            fail(str(error))
        except (JoinError, Unreachable) as error:
            fail(str(error), 1)
        except KeyboardInterrupt:
            err.print("left the federation", markup=False)
            raise typer.Exit(130) from None
