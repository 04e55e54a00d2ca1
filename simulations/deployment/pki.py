"""The server's folder of keys and certificates of a federation: `fedssl certs`."""

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
from simulations.deployment.number_record import ClientNumber, NumberRecord
from simulations.record.lock import lock_folder

_FOLDER = re.compile(r"client-(0|[1-9]\d{0,8})", re.ASCII)


@dataclass(frozen=True)
class MemberKey:
    """A client's public key on the server."""

    client: int
    """The client's number."""
    path: Path
    """The file of the key."""
    pem: bytes
    """The key in PEM, as Flower registers it."""
    fingerprint: str
    """The fingerprint from `clients.keys.fingerprint`."""


class ServerKeys:
    """The files of a federation's server.

    ``ca.crt`` and ``ca.key`` are those of the authority, ``server.crt`` and ``server.key`` those of
    the server, ``client-N/client.pub`` is the public key of client N, and ``clients.json`` the
    record of all client numbers. The server needs no other file of ``client-N``: move them to the
    device.

    Parameters
    ----------
    folder : Path
        The folder, such as ``pki``.
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
        """Raise a ConfigError, which names the option, where the folder does not exist."""
        if not self.folder.is_dir():
            raise ConfigError(
                f"--out = {self.folder}: there is no such folder; give that of the keys"
            )

    def check(self) -> None:
        """Check that the server's files exist, and that clients would accept them.

        Raises
        ------
        ConfigError
            A file is missing or invalid; the message names the file and the fix.
        """
        for path in (self.authority, self.certificate, self.key):
            if not path.exists():
                raise ConfigError(
                    f"{path}: there is no such file; make the keys by fedssl certs --out "
                    f"{self.folder}"
                )
        check_server(self.authority, self.certificate, self.key)

    def warnings(self) -> list[str]:
        """Return a warning for each certificate that expires soon."""
        fixes = {
            self.authority: "make new keys in another folder, and bring them to all clients",
            self.certificate: f"renew it by fedssl certs --out {self.folder}, and start again",
        }
        days = {path: days_left(read_certificate(path)) for path in fixes}
        return [
            f"{path}: expires in {days[path]} days, and then clients refuse this server; {fix}"
            for path, fix in fixes.items()
            if days[path] < WARN_DAYS
        ]

    def validity(self) -> list[str]:
        """Return the certificates' dates of expiry, and the fingerprint of the authority's."""
        authority, server = read_certificate(self.authority), read_certificate(self.certificate)
        return [
            f"{self.certificate} is valid until {server.not_valid_after_utc:%Y-%m-%d}, "
            f"{self.authority} until {authority.not_valid_after_utc:%Y-%m-%d}",
            f"fingerprint of {self.authority}: {certificate_fingerprint(authority)}",
        ]

    def public_key_files(self) -> list[Path]:
        """Return the files of the clients' public keys, without reading them."""
        return sorted(self.folder.glob("client-*/client.pub"))

    def read_public_keys(self) -> tuple[list[MemberKey], dict[str, str]]:
        """Return the members' keys, and the errors of unusable keys by path.

        Raises
        ------
        ConfigError
            The record of numbers is damaged.
        """
        numbers = NumberRecord(self.record).all
        keys: list[MemberKey] = []
        faults: dict[str, str] = {}
        owners: dict[str, int] = {}
        for path in self.public_key_files():
            try:
                key = _read_public_key(path, numbers)
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

    def numbers(self) -> NumberRecord:
        """Return the record of numbers, with those that were given before the record existed.

        Raises
        ------
        ConfigError
            The record is damaged.
        """
        numbers = NumberRecord(self.record)
        for path in self.folder.glob("client-*"):
            if match := _FOLDER.fullmatch(path.name):
                numbers.add(int(match[1]), _fingerprint_of(ClientKeys(path)))
        return numbers

    def is_member(self, client: ClientNumber) -> bool:
        """Return whether a client is a member: it has a public key that is not revoked."""
        return client.revoked is None and self.client(client.number).public.exists()


def _read_public_key(path: Path, numbers: Mapping[int, ClientNumber]) -> MemberKey:
    """Read a member's public key; raise a ConfigError where it is not that of a member."""
    client_keys = ClientKeys(path.parent)
    key, number = client_keys.public_key(), client_keys.number()
    if path.parent.name != f"client-{number}":
        raise ConfigError(f"{path}: is the key of client {number}; put each in its folder")
    key_fingerprint = fingerprint(key)
    entry = numbers.get(number, ClientNumber(number=number))
    if entry.revoked:
        raise ConfigError(
            f"{path}: client {number} was revoked on {entry.revoked[:10]}; delete the file"
        )
    if entry.fingerprint not in (None, key_fingerprint):
        raise ConfigError(
            f"{path}: is another key than the one that number {number} was given to; a new "
            "device gets a new number by fedssl certs, so delete the file"
        )
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return MemberKey(number, path, pem, key_fingerprint)


def make_pki(folder: Path, clients: int | None, hosts: Sequence[str]) -> list[Path]:
    """Make the keys of a federation, add those of more clients, or renew the server's certificate.

    An existing authority and existing keys of clients stay. The server's certificate is renewed if
    it is missing, if ``hosts`` are given, or if ``clients`` is None.

    Parameters
    ----------
    folder : Path
        The folder of the keys; it is created if needed, accessible only to its owner.
    clients : int | None
        The wanted number of members in all. New ones get the numbers after the highest that was
        ever given.
    hosts : Sequence[str]
        The names or addresses by which clients reach the server, besides those of the machine
        itself; empty for those of the certificate that is there.

    Returns
    -------
    list[Path]
        The files and folders that were written.

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
        # First: a recorded number without a key is only lost, an unrecorded one would be reused.
        numbers.write()
        for number, key in zip(given, private, strict=True):
            client_keys = keys.client(number)
            client_keys.folder.mkdir(mode=0o700, exist_ok=True)
            client_keys.write_private(key)
            client_keys.write_public(key.public_key(), number, keys.authority.read_bytes())
            written.append(client_keys.folder)
        return written


def sign(folder: Path, requests: Sequence[Path]) -> dict[int, str]:
    """Make a client for each request; none where any request is invalid.

    Parameters
    ----------
    folder : Path
        The folder of the federation's keys.
    requests : Sequence[Path]
        The files that `fedssl join --request` made.

    Returns
    -------
    dict[int, str]
        The number of each new client, and its key's fingerprint.

    Raises
    ------
    ConfigError
        A request is invalid, a client already has its key, or there is no authority.
    """
    keys = ServerKeys(folder)
    if not keys.authority.exists():
        raise ConfigError(
            f"{keys.authority}: there is no such file; first make the server's keys by fedssl "
            f"certs --host NAME --out {folder}"
        )
    read_certificate(keys.authority)
    request_keys = {path: read_request(path) for path in requests}
    with _writing(folder):
        numbers = keys.numbers()
        given = {}
        for path, key in request_keys.items():
            if owner := numbers.owner(fingerprint(key)):
                was = f", revoked on {owner.revoked[:10]}" if owner.revoked else ""
                raise ConfigError(
                    f"{path}: its key is client {owner.number}'s already{was}; ask for a new one "
                    "by fedssl join --request in another folder"
                )
            given[numbers.give(fingerprint(key))] = key
        numbers.write()
        for number, key in given.items():
            client_keys = keys.client(number)
            client_keys.folder.mkdir(mode=0o700, exist_ok=True)
            client_keys.write_public(key, number, keys.authority.read_bytes())
        return {number: fingerprint(key) for number, key in given.items()}


def revoke(folder: Path, clients: Sequence[int]) -> None:
    """Revoke clients' keys permanently; their numbers are never given again.

    Parameters
    ----------
    folder : Path
        The folder of the federation's keys.
    clients : Sequence[int]
        The numbers of the clients; one that is already revoked stays so.

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
            # First: if the process ends here, the key is removed, and a second try records it.
            with name_write_errors(keys.client(number).public):
                keys.client(number).public.unlink(missing_ok=True)
            numbers.revoke(number)
        numbers.write()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Return a context that locks the folder, which only its owner can access."""
    with name_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock_folder(folder, lambda text: None):
        yield


def _missing(keys: ServerKeys, numbers: NumberRecord, clients: int | None) -> int:
    """Return the number of clients to add."""
    members = sum(map(keys.is_member, numbers.all.values()))
    if clients is None:
        return 0
    if clients < members:
        raise ConfigError(
            f"--clients = {clients}: there are {members} already; take those who leave out by "
            "fedssl certs --revoke NUMBER"
        )
    return clients - members


def _check_authority(keys: ServerKeys, numbers: NumberRecord) -> None:
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
    key = new_key()
    _write_key(keys.authority_key, key)
    write(keys.authority, make_authority(key).public_bytes(serialization.Encoding.PEM))
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
    certificate = make_server_certificate(key, authority, authority_key, hosts)
    _write_key(keys.key, key)
    write(keys.certificate, certificate.public_bytes(serialization.Encoding.PEM))
    return [keys.certificate, keys.key]


def _fingerprint_of(keys: ClientKeys) -> str | None:
    try:
        return fingerprint(keys.public_key())
    except ConfigError:
        # The key is missing or damaged, which must not prevent its revocation.
        return None


def _write_key(path: Path, key: PrivateKey) -> None:
    data = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write(path, data, mode=0o600)
