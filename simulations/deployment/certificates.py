"""Create and check the certificates of a federation's authority and its server."""

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clients.keys import MOST, UNREADABLE, PrivateKey, format_digest, read_certificate
from fedssl.base.config_file import ConfigError
from fedssl.base.plain_files import read_text, shorten

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The names and addresses by which the server reaches itself."""
AUTHORITY_DAYS, SERVER_DAYS = 3650, 825
WARN_DAYS = 30
"""`fedssl serve` warns so many days before a certificate expires."""
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)


def new_key() -> PrivateKey:
    """Make a key for an authority or a server."""
    return ec.generate_private_key(ec.SECP256R1())


def make_authority(key: PrivateKey) -> x509.Certificate:
    """Make the certificate by which clients check their server's."""
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
    until = datetime.now(UTC) + timedelta(days=AUTHORITY_DAYS)
    return (
        _builder(name, name, key, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def make_server_certificate(
    key: PrivateKey, authority: x509.Certificate, authority_key: PrivateKey, hosts: Sequence[str]
) -> x509.Certificate:
    """Make the server's certificate, for these names and addresses and those of `LOOPBACK`.

    It ends no later than the authority's.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedssl server")])
    names = [general_name(host) for host in dict.fromkeys([*hosts, *LOOPBACK])]
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    until = datetime.now(UTC) + timedelta(days=SERVER_DAYS)
    return (
        _builder(name, authority.subject, key, min(until, authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses of a server's certificate, without those of `LOOPBACK`."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    hosts = [
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    ]
    return [host for host in hosts if host not in LOOPBACK]


def general_name(host: str) -> x509.GeneralName:
    """Return a name or address in the form for certificates.

    Raises
    ------
    ConfigError
        The text is neither a name nor an address.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        labels = host.removeprefix("*.").split(".")
        if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
            raise ConfigError(
                f"--host = {shorten(host)}: give a name or an address, without scheme or port, "
                "such as server.example.org"
            ) from None
        return x509.DNSName(host)


def read_key(path: Path) -> PrivateKeyTypes:
    """Return the private key in a PEM file.

    Raises
    ------
    ConfigError
        The file cannot be read, or holds no private key.
    """
    text = read_text(path, MOST)
    try:
        return serialization.load_pem_private_key(text.encode(), None)
    except UNREADABLE:
        raise ConfigError(
            f"{path}: is damaged, or no private key in PEM without a passphrase; put a good copy "
            "back"
        ) from None


def check_server(authority: Path, certificate: Path, key: Path) -> None:
    """Check that clients would accept a server's certificate now.

    Parameters
    ----------
    authority, certificate, key : Path
        PEM files; the certificate may be followed by those between it and the authority.

    Raises
    ------
    ConfigError
        Clients would refuse it; the message names the file and the fix.
    """
    root = read_certificate(authority)
    read_certificate(certificate)
    try:
        chain = x509.load_pem_x509_certificates(read_text(certificate, MOST).encode())
    except UNREADABLE:
        raise ConfigError(f"{certificate}: one of its certificates is damaged") from None
    renew = f"make a new one by fedssl certs --out {certificate.parent}"
    if read_key(key).public_key() != chain[0].public_key():
        raise ConfigError(f"{key}: is not the key of {certificate.name}; {renew}")
    for below, above in pairwise([*chain, root]):
        try:
            below.verify_directly_issued_by(above)
        except (InvalidSignature, *UNREADABLE):
            raise ConfigError(
                f"{certificate}: was not signed by {authority.name}, so clients would refuse it; "
                f"{renew}"
            ) from None
    check_time(authority, root, "bring every client the ca.crt of new keys, made in another folder")
    for link in chain:
        check_time(certificate, link, renew)


def check_time(path: Path, certificate: x509.Certificate, fix: str) -> None:
    """Raise a ConfigError, which ends with a fix, where a certificate is not valid now."""
    now = datetime.now(UTC)
    if now >= certificate.not_valid_after_utc:
        raise ConfigError(
            f"{path}: expired on {certificate.not_valid_after_utc:%Y-%m-%d}, and this machine's "
            f"clock says {now:%Y-%m-%d}; {fix}"
        )
    if now < certificate.not_valid_before_utc:
        raise ConfigError(
            f"{path}: is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on, and "
            f"this machine's clock says {now:%Y-%m-%d %H:%M}; set the clock"
        )


def days_left(certificate: x509.Certificate) -> int:
    """Return the number of whole days until a certificate expires."""
    return (certificate.not_valid_after_utc - datetime.now(UTC)).days


def certificate_fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` prints it."""
    return format_digest(certificate.fingerprint(hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A device's clock may be a little behind.
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
