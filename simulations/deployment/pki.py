"""The keys and certificates of a federation, made on the server: `fedssl certs`."""

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clients.keys import ClientKeys
from fedssl.config_file import ConfigError
from fedssl.files import replacing
from fedssl.plain_files import read_text

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""By these the server reaches itself."""
AUTHORITY_DAYS, SERVER_DAYS = 3650, 825

Key = ec.EllipticCurvePrivateKey
_LONGEST = 10_000
"""Bytes of a public key's file, which has some hundred."""


@dataclass(frozen=True)
class PublicKey:
    """A client's public key, as the server has it."""

    client: int
    """Whose it is."""
    path: Path
    """Where it lies."""
    pem: bytes
    """As Flower registers it."""
    fingerprint: str
    """SHA-256 of its DER, in hexadecimal."""


class ServerKeys:
    """The files of a federation's server.

    ``ca.crt`` and ``ca.key`` are the authority, ``server.crt`` and ``server.key`` what the server
    shows, and ``client-N/client.pub`` the key by which client N is known. The server needs no more
    of ``client-N``: move the rest to the device.

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

    def client(self, number: int) -> ClientKeys:
        """Return the keys of a client."""
        return ClientKeys(self.folder / f"client-{number}")

    def check(self) -> None:
        """See that what the server needs is there.

        Raises
        ------
        ConfigError
            Names the file and the fix.
        """
        for path in (self.authority, self.certificate, self.key):
            if not path.is_file():
                raise ConfigError(
                    f"{path}: there is no such file; make the keys by fedssl certs --out "
                    f"{self.folder}"
                )

    def public_key_files(self) -> list[Path]:
        """Return the files of the clients' public keys, whatever is in them."""
        return sorted(self.folder.glob("client-*/client.pub"))

    def public_key(self, path: Path) -> PublicKey:
        """Read a client's public key.

        Raises
        ------
        ConfigError
            It cannot be read, or is another client's.
        """
        try:
            key = serialization.load_ssh_public_key(read_text(path, _LONGEST).encode())
        # Of a kind that is not supported, too.
        except Exception as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{path}: is no public key: {error}") from error
        number = ClientKeys(path.parent).number()
        if path.parent.name != f"client-{number}":
            raise ConfigError(f"{path}: is the key of client {number}; put each in its folder")
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return PublicKey(
            number,
            path,
            key.public_bytes(serialization.Encoding.PEM, form),
            hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest(),
        )

    def public_keys(self) -> dict[int, bytes]:
        """Return each client's public key, as Flower registers it, by the client's number.

        Raises
        ------
        ConfigError
            A key cannot be read, or is another client's.
        """
        keys = [self.public_key(path) for path in self.public_key_files()]
        return {key.client: key.pem for key in keys}


def make_pki(folder: Path, clients: int, hosts: Sequence[str]) -> list[Path]:
    """Make the keys of a federation, or add those that are missing.

    The authority and the clients' keys stay if they are there; the server's certificate is made
    anew, so that it names ``hosts`` and its time begins again.

    Parameters
    ----------
    folder : Path
        Where; it is made if need be, for its owner alone.
    clients : int
        How many clients there are to be, from number 0.
    hosts : Sequence[str]
        The names or addresses by which clients reach the server, besides those of the machine
        itself.

    Returns
    -------
    list[Path]
        What was written.

    Raises
    ------
    ConfigError
        The folder holds half of an authority.
    """
    keys = ServerKeys(folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    there = keys.authority.exists(), keys.authority_key.exists()
    if there[0] != there[1]:
        raise ConfigError(
            f"{folder}: holds only one of ca.crt and ca.key; put the other back, or make new keys "
            "in another folder"
        )
    written: list[Path] = []
    if not there[0]:
        own = ec.generate_private_key(ec.SECP256R1())
        _write_key(keys.authority_key, own)
        _write(keys.authority, _pem(_authority(own)))
        written += [keys.authority, keys.authority_key]
    authority_key = serialization.load_pem_private_key(keys.authority_key.read_bytes(), None)
    assert isinstance(authority_key, Key)
    authority = x509.load_pem_x509_certificate(keys.authority.read_bytes())
    server_key = ec.generate_private_key(ec.SECP256R1())
    _write_key(keys.key, server_key)
    _write(keys.certificate, _pem(_server(server_key, authority, authority_key, hosts)))
    written += [keys.certificate, keys.key]
    for number in range(clients):
        own_keys = keys.client(number)
        if own_keys.public.exists():
            continue
        own_keys.folder.mkdir(mode=0o700, exist_ok=True)
        key = ec.generate_private_key(ec.SECP384R1())
        _write_key(own_keys.private, key, serialization.PrivateFormat.OpenSSH)
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        _write(own_keys.root_certificate, keys.authority.read_bytes())
        _write(own_keys.public, public + f" fedssl-client-{number}\n".encode())
        written.append(own_keys.folder)
    return written


def _authority(key: Key) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedssl federation")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _builder(name, name, key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def _server(
    key: Key, authority: x509.Certificate, authority_key: Key, hosts: Sequence[str]
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0] if hosts else LOOPBACK[0])])
    names = [_general_name(host) for host in dict.fromkeys([*hosts, *LOOPBACK])]
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(name, authority.subject, key, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A device's clock may be a little behind.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(
    path: Path, key: Key, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8
) -> None:
    data = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    _write(path, data, mode=0o600)


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    # Private from its first byte on.
    with replacing(path, mode) as temporary:
        temporary.write_bytes(data)
