"""The keys and certificates of a federation, kept on the server: `fedssl certs`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.keys import CURVE, ClientKeys, PrivateKey, fingerprint, read_certificate, write
from clients.request import read_request
from fedssl.base.config_file import ConfigError
from fedssl.base.files import name_write_errors
from simulations.deployment.certificates import (
    WARN_DAYS,
    certificate_fingerprint,
    check_server,
    check_time,
    days_left,
    general_name,
    hosts_of,
    make_authority,
    make_server_certificate,
    new_key,
    read_key,
)
from simulations.deployment.numbers import Given, Numbers
from simulations.record.lock import locked

_FOLDER = re.compile(r"client-(0|[1-9]\d{0,8})", re.ASCII)


@dataclass(frozen=True)
class MemberKey:
    """A client's public key, as the server has it."""

    client: int
    """Whose it is."""
    path: Path
    """Where it lies."""
    pem: bytes
    """As Flower registers it."""
    fingerprint: str
    """See `clients.keys.fingerprint`."""


class ServerKeys:
    """The files of a federation's server.

    ``ca.crt`` and ``ca.key`` are the authority, ``server.crt`` and ``server.key`` what the server
    shows, ``client-N/client.pub`` the key by which client N is known, and ``clients.json`` the
    record of all numbers that were ever given. The server needs no more of ``client-N``: move the
    rest to the device.

    Parameters
    ----------
    folder : Path
        Such as ``pki``.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.authority = folder / "ca.crt"
        self.authority_key = folder / "ca.key"
        self.certificate = folder / "server.crt"
        self.key = folder / "server.key"
        self.record = folder / "clients.json"

    def client(self, number: int) -> ClientKeys:
        """Return the keys of a client."""
        return ClientKeys(self.folder / f"client-{number}")

    def check_folder(self) -> None:
        """See that the folder is there; a ConfigError names the option."""
        if not self.folder.is_dir():
            raise ConfigError(
                f"--out = {self.folder}: there is no such folder; give that of the keys"
            )

    def check(self) -> None:
        """See that what the server needs is there, and that clients will find it good.

        Raises
        ------
        ConfigError
            Names the file and the fix.
        """
        for path in (self.authority, self.certificate, self.key):
            if not path.exists():
                raise ConfigError(
                    f"{path}: there is no such file; make the keys by fedssl certs --out "
                    f"{self.folder}"
                )
        check_server(self.authority, self.certificate, self.key)

    def warnings(self) -> list[str]:
        """Return a sentence for each certificate that soon expires."""
        fixes = {
            self.authority: "make new keys in another folder, and bring them to all clients",
            self.certificate: f"renew it by fedssl certs --out {self.folder}, and start again",
        }
        left = {path: days_left(read_certificate(path)) for path in fixes}
        return [
            f"{path}: expires in {left[path]} days, and then clients refuse this server; {fix}"
            for path, fix in fixes.items()
            if left[path] < WARN_DAYS
        ]

    def validity(self) -> list[str]:
        """Return until when the certificates are valid, and how to know the authority's."""
        authority, own = read_certificate(self.authority), read_certificate(self.certificate)
        return [
            f"{self.certificate} is valid until {own.not_valid_after_utc:%Y-%m-%d}, "
            f"{self.authority} until {authority.not_valid_after_utc:%Y-%m-%d}",
            f"fingerprint of {self.authority}: {certificate_fingerprint(authority)}",
        ]

    def public_key_files(self) -> list[Path]:
        """Return the files of the clients' public keys, whatever is in them."""
        return sorted(self.folder.glob("client-*/client.pub"))

    def read_public_keys(self) -> tuple[list[MemberKey], dict[str, str]]:
        """Return the members' keys, and why others cannot be used, by their paths.

        Raises
        ------
        ConfigError
            The record of numbers is damaged.
        """
        given = Numbers(self.record).all
        keys: list[MemberKey] = []
        faults: dict[str, str] = {}
        owners: dict[str, int] = {}
        for path in self.public_key_files():
            try:
                key = _read_public_key(path, given)
                if (other := owners.setdefault(key.fingerprint, key.client)) != key.client:
                    raise ConfigError(f"{path}: is the same key as client {other}'s; delete it")
            except ConfigError as error:
                faults[str(path)] = str(error)
            else:
                keys.append(key)
        return keys, faults

    def public_keys(self) -> dict[int, bytes]:
        """Return each member's public key, as Flower registers it, by the client's number.

        Raises
        ------
        ConfigError
            A key cannot be read, is another client's, or was revoked.
        """
        keys, faults = self.read_public_keys()
        for fault in faults.values():
            raise ConfigError(fault)
        return {key.client: key.pem for key in keys}

    def numbers(self) -> Numbers:
        """Return the record of numbers, with those that were given before there was one.

        Raises
        ------
        ConfigError
            The record is damaged.
        """
        numbers = Numbers(self.record)
        for path in self.folder.glob("client-*"):
            if found := _FOLDER.fullmatch(path.name):
                numbers.note(int(found[1]), _fingerprint_of(ClientKeys(path)))
        return numbers

    def is_member(self, client: Given) -> bool:
        """Tell whether the server knows a client's key."""
        return client.revoked is None and self.client(client.number).public.exists()


def _read_public_key(path: Path, given: Mapping[int, Given]) -> MemberKey:
    """Read a client's public key; a ConfigError says why it is none of a member."""
    own = ClientKeys(path.parent)
    key, number = own.public_key(), own.number()
    if path.parent.name != f"client-{number}":
        raise ConfigError(f"{path}: is the key of client {number}; put each in its folder")
    print_ = fingerprint(key)
    known = given.get(number, Given(number=number))
    if known.revoked:
        raise ConfigError(
            f"{path}: client {number} was revoked on {known.revoked[:10]}; delete the file"
        )
    if known.fingerprint not in (None, print_):
        raise ConfigError(
            f"{path}: is another key than the one that number {number} was given to; a new "
            "device gets a new number by fedssl certs, so delete the file"
        )
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return MemberKey(number, path, pem, print_)


def make_pki(folder: Path, clients: int | None, hosts: Sequence[str]) -> list[Path]:
    """Make the keys of a federation, add those of more clients, or renew the server's certificate.

    The authority and the clients' keys stay if they are there. The server's certificate is made
    anew if there is none, ``hosts`` are given, or nothing else is asked for.

    Parameters
    ----------
    folder : Path
        Where; it is made if need be, for its owner alone.
    clients : int | None
        How many members there are to be in all. New ones get the numbers after the highest that was
        ever given.
    hosts : Sequence[str]
        The names or addresses by which clients reach the server, besides those of the machine
        itself; empty for those of the certificate that is there.

    Returns
    -------
    list[Path]
        What was written.

    Raises
    ------
    ConfigError
        The folder holds half of an authority, a file of it is damaged or expired, there are more
        members already, or a host is no name.
    """
    keys = ServerKeys(folder)
    for host in hosts:
        general_name(host)
    with _writing(folder):
        numbers = keys.numbers()
        new = _missing(keys, numbers, clients)
        _check_authority(keys, numbers)
        written: list[Path] = []
        renewed = clients is None or bool(hosts) or not keys.certificate.exists()
        if renewed:
            names = hosts or _names(keys)
            written += _make_authority(keys) + _renew(keys, names)
        private = [ec.generate_private_key(CURVE) for _ in range(new)]
        given = [numbers.give(fingerprint(key.public_key())) for key in private]
        # First: a number that is noted and not given is lost, one given and not noted comes again.
        numbers.write()
        for number, key in zip(given, private, strict=True):
            own = keys.client(number)
            own.folder.mkdir(mode=0o700, exist_ok=True)
            own.write_private(key)
            own.write_public(key.public_key(), number, keys.authority.read_bytes())
            written.append(own.folder)
        return written


def sign(folder: Path, requests: Sequence[Path]) -> dict[int, str]:
    """Make clients of those who asked by a request; all of them, or where one is not good none.

    Parameters
    ----------
    folder : Path
        That of the federation's keys.
    requests : Sequence[Path]
        Files that `fedssl join --request` made.

    Returns
    -------
    dict[int, str]
        The number of each new client, and its key's fingerprint.

    Raises
    ------
    ConfigError
        A request is not good, its key is a client's already, or there is no authority.
    """
    keys = ServerKeys(folder)
    if not keys.authority.exists():
        raise ConfigError(
            f"{keys.authority}: there is no such file; first make the server's keys by fedssl "
            f"certs --host NAME --out {folder}"
        )
    read_certificate(keys.authority)
    asked = {path: read_request(path) for path in requests}
    with _writing(folder):
        numbers = keys.numbers()
        given = {}
        for path, key in asked.items():
            if owner := numbers.owner(fingerprint(key)):
                was = f", revoked on {owner.revoked[:10]}" if owner.revoked else ""
                raise ConfigError(
                    f"{path}: its key is client {owner.number}'s already{was}; ask for a new one "
                    "by fedssl join --request in another folder"
                )
            given[numbers.give(fingerprint(key))] = key
        numbers.write()
        for number, key in given.items():
            own = keys.client(number)
            own.folder.mkdir(mode=0o700, exist_ok=True)
            own.write_public(key, number, keys.authority.read_bytes())
        return {number: fingerprint(key) for number, key in given.items()}


def revoke(folder: Path, clients: Sequence[int]) -> None:
    """Take clients' keys away from the server, for good; their numbers are never given again.

    Parameters
    ----------
    folder : Path
        That of the federation's keys.
    clients : Sequence[int]
        Their numbers; one that was revoked before stays so.

    Raises
    ------
    ConfigError
        There is no such client; none was revoked.
    """
    keys = ServerKeys(folder)
    keys.check_folder()
    with _writing(folder):
        numbers = keys.numbers()
        for number in clients:
            if number not in numbers.all:
                raise ConfigError(
                    f"--revoke = {number}: there never was such a client; fedssl certs --list "
                    f"--out {folder} shows all"
                )
        for number in clients:
            # First: if this ends here, the client is out, and a second try notes it.
            with name_write_errors(keys.client(number).public):
                keys.client(number).public.unlink(missing_ok=True)
            numbers.revoke(number)
        numbers.write()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Keep everybody else from changing the keys, and the folder for its owner alone."""
    with name_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(folder, lambda text: None):
        yield


def _missing(keys: ServerKeys, numbers: Numbers, clients: int | None) -> int:
    """Return how many clients are to be added."""
    members = sum(map(keys.is_member, numbers.all.values()))
    if clients is None:
        return 0
    if clients < members:
        raise ConfigError(
            f"--clients = {clients}: there are {members} already; take those who leave out by "
            "fedssl certs --revoke NUMBER"
        )
    return clients - members


def _check_authority(keys: ServerKeys, numbers: Numbers) -> None:
    if keys.authority_key.exists() and not keys.authority.exists():
        raise ConfigError(
            f"{keys.folder}: holds only ca.key and not ca.crt; put it back, or make new keys in "
            "another folder"
        )
    if numbers.all and not keys.authority.exists():
        raise ConfigError(
            f"{keys.authority}: there is no such file, and clients have it; put it back with "
            "ca.key, or make new keys for all in another folder"
        )


def _names(keys: ServerKeys) -> list[str]:
    return hosts_of(read_certificate(keys.certificate)) if keys.certificate.exists() else []


def _make_authority(keys: ServerKeys) -> list[Path]:
    if keys.authority.exists():
        return []
    own = new_key()
    _write_key(keys.authority_key, own)
    write(keys.authority, make_authority(own).public_bytes(serialization.Encoding.PEM))
    return [keys.authority, keys.authority_key]


def _renew(keys: ServerKeys, hosts: Sequence[str]) -> list[Path]:
    if not keys.authority_key.exists():
        raise ConfigError(
            f"{keys.authority_key}: there is no such file, and a certificate for the server is "
            "signed by it; bring it back for the while"
        )
    authority, authority_key = read_certificate(keys.authority), read_key(keys.authority_key)
    if (
        not isinstance(authority_key, PrivateKey)
        or authority_key.public_key() != authority.public_key()
    ):
        raise ConfigError(f"{keys.authority_key}: is not the key of ca.crt; put the right one back")
    check_time(keys.authority, authority, "make new keys for all in another folder")
    key = new_key()
    made = make_server_certificate(key, authority, authority_key, hosts)
    _write_key(keys.key, key)
    write(keys.certificate, made.public_bytes(serialization.Encoding.PEM))
    return [keys.certificate, keys.key]


def _fingerprint_of(own: ClientKeys) -> str | None:
    try:
        return fingerprint(own.public_key())
    except ConfigError:
        # It is gone, or damaged, which must not keep it from being revoked.
        return None


def _write_key(path: Path, key: PrivateKey) -> None:
    data = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write(path, data, mode=0o600)
