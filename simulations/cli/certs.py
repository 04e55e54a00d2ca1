"""``fedssl certs``: the keys and certificates of a federation."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulations.cli.shared import clear_errors, fail, print_line

if TYPE_CHECKING:
    from simulations.deployment.pki import ServerKeys


def certs(
    folder: Annotated[
        Path, typer.Option("--out", help="The folder of the keys; it is created if it is missing.")
    ] = Path("pki"),
    clients: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The number of clients in all; keys are made for those that are missing.",
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
            help="A client that must not take part any more. Give it again for more.",
            show_default=False,
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List all clients, also revoked ones.")
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
                print_line(f"client {number}: its key's fingerprint is {fingerprint}")
                print_line(
                    f"bring {own.public} and {own.root_certificate} to the device, beside its "
                    "client.key; neither is secret"
                )
            print_line(keys.validity()[1])
            print_line(
                "compare both fingerprints with the device's owner by phone; there, `openssl x509 "
                "-noout -fingerprint -sha256 -in ca.crt` shows the second"
            )
        elif revoked:
            revoke(folder, revoked)
            for number in revoked:
                print_line(
                    f"client {number} is revoked; a running fedssl serve notices within seconds"
                )
        elif listed:
            keys.check_folder()
            for line in _table(keys):
                print_line(line)
        else:
            for path in make_pki(folder, clients, hosts or []):
                print_line(f"wrote {path}")
            for line in keys.validity():
                print_line(line)


def _table(keys: "ServerKeys") -> Iterator[str]:
    form = "{:>6}  {:<95}  {:<10}  {}".format
    yield form("number", "fingerprint", "given", "revoked")
    for number, client in sorted(keys.numbers().all.items()):
        given, revoked = (client.given or "unknown")[:10], (client.revoked or "")[:10]
        if not revoked and not keys.is_member(client):
            revoked = "no, but its client.pub is not here"
        yield form(number, client.fingerprint or "unknown", given, revoked or "no")
